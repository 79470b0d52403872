//! Numbers as the paper prints them.

use serde::{Deserialize, Serialize};
use Quantity::{Bpd, Ft, Memory, Nll, Params, St};

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Quantity {
    /// Sampling time, ms.
    #[serde(rename = "st_ms")]
    St,
    /// "Forward time", ms: in the published code the time of a whole training step.
    #[serde(rename = "ft_ms")]
    Ft,
    /// Negative log-likelihood, nats per image.
    #[serde(rename = "nll_nats")]
    Nll,
    /// Bits per dimension.
    #[serde(rename = "bpd")]
    Bpd,
    /// Trainable parameters, millions.
    #[serde(rename = "params_m")]
    Params,
    /// Memory, GB.
    #[serde(rename = "memory_gb")]
    Memory,
}

impl Quantity {
    /// Key of the cell in `report.json`.
    pub fn key(self) -> &'static str {
        match self {
            St => "st_ms",
            Ft => "ft_ms",
            Nll => "nll_nats",
            Bpd => "bpd",
            Params => "params_m",
            Memory => "memory_gb",
        }
    }

    /// Heading of a column.
    pub fn title(self) -> &'static str {
        match self {
            St => "ST, ms",
            Ft => "FT, ms",
            Nll => "NLL, nats",
            Bpd => "BPD",
            Params => "parameters, millions",
            Memory => "memory, GB",
        }
    }
}

/// A number as printed, with its deviation where one is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Printed {
    /// The digits; what they leave out is not known.
    pub text: &'static str,
    /// The digits after ±; empty if there are none.
    pub sd: &'static str,
}

impl Printed {
    /// The number.
    pub fn value(self) -> f64 {
        self.text.parse().unwrap_or(f64::NAN)
    }

    /// The number after ±.
    pub fn deviation(self) -> Option<f64> {
        self.sd.parse().ok()
    }

    /// Digits after the point.
    pub fn decimals(self) -> usize {
        self.text
            .split_once('.')
            .map_or(0, |(_, digits)| digits.len())
    }

    /// Half a unit of the last digit: all numbers nearer than this print alike.
    pub fn rounding(self) -> f64 {
        0.5 * 10f64.powi(-(self.decimals() as i32))
    }
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaperRow {
    /// Name of the row here: the flow family, or the size that the table varies.
    pub name: &'static str,
    /// What is printed.
    pub cells: Vec<(Quantity, Printed)>,
}

impl PaperRow {
    /// The printed number of a column.
    pub fn get(&self, quantity: Quantity) -> Option<Printed> {
        let cell = self.cells.iter().find(|(own, _)| *own == quantity)?;
        Some(cell.1)
    }

    /// From `name | 99 ± 2.1 | 699 | ...`, in the order of `columns`.
    pub(super) fn read(line: &'static str, columns: &[Quantity]) -> Self {
        let mut parts = line.split('|').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let printed = parts.map(|part| {
            let (text, sd) = part.split_once('±').unwrap_or((part, ""));
            Printed {
                text: text.trim(),
                sd: sd.trim(),
            }
        });
        Self {
            name,
            cells: columns.iter().copied().zip(printed).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_digits_give_the_rounding() {
        let printed = |text| Printed { text, sd: "" };
        assert_eq!(printed("1.15").decimals(), 2);
        assert!((printed("1.15").rounding() - 0.005).abs() < 1e-15);
        assert!((printed("710").rounding() - 0.5).abs() < 1e-15);
    }
}
