//! An axis that is linear or logarithmic, with ticks at round numbers.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// An interval of numbers as a line on the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

/// Ticks that an axis has at most.
const MOST_TICKS: usize = 9;

impl Axis {
    /// An axis that shows all of `values` with room at the ends; `None` without a value to show. Values from 0 down have
    /// no place on a logarithmic axis.
    pub fn around(values: impl IntoIterator<Item = f64>, log: bool) -> Option<Self> {
        let shown = values
            .into_iter()
            .filter(|v| v.abs() < 1e30 && (!log || *v > 0.0));
        let ends = shown.fold(None, |ends: Option<(f64, f64)>, value| {
            let (low, high) = ends.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let (low, high) = ends?;
        Some(if log {
            let room = (high / low).powf(0.08).max(1.15);
            Self {
                low: low / room,
                high: high * room,
                log,
            }
        } else {
            let room = match high - low {
                length if length > 1e-9 * high.abs().max(low.abs()) && length > 0.0 => {
                    0.08 * length
                }
                _ => (0.05 * high.abs()).max(1e-9),
            };
            Self {
                low: low - room,
                high: high + room,
                log,
            }
        })
    }

    /// Whether a value has a place on the axis.
    pub fn shows(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// From 0 at the low end to 1 at the high one.
    fn position(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Round numbers on the axis.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let powers = || self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            for digits in [
                &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0][..],
                &[1.0, 2.0, 5.0],
                &[1.0, 3.0],
                &[1.0],
            ] {
                let all = powers().flat_map(|p| digits.iter().map(move |d| d * 10f64.powi(p)));
                let ticks: Vec<_> = all.filter(|tick| self.shows(*tick)).collect();
                if ticks.len() <= MOST_TICKS {
                    return ticks;
                }
            }
        }
        let length = self.high - self.low;
        let power = 10f64.powf((length / MOST_TICKS as f64).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|digit| digit * power)
            .into_iter()
            .find(|step| length / step <= MOST_TICKS as f64)
            .unwrap_or(length);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        // a value far outside still is a pixel that fits the type
        let position = self.position(*value).clamp(-10.0, 10.0);
        from + (f64::from(to - from) * position).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let mut ticks = self.ticks();
        ticks.truncate(hint.max_num_points().max(1));
        ticks
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        if *value == 0.0 {
            return "0".into();
        }
        let size = value.abs();
        if !(1e-4..1e6).contains(&size) {
            return format!("{value:.0e}");
        }
        // enough digits to tell the ticks of this axis apart
        let finest = if self.log {
            size
        } else {
            (self.high - self.low).abs() / MOST_TICKS as f64
        };
        let decimals = (1.0 - finest.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{value:.decimals$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').into(),
            false => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_few_and_on_the_axis() {
        for (low, high, log) in [
            (0.98, 1.31, false),
            (16.8, 25_000.0, true),
            (1.0, 1.2, true),
            (3.0, 3.0, false),
        ] {
            let axis = Axis::around([low, high], log).unwrap();
            let ticks = axis.ticks();
            assert!(
                !ticks.is_empty() && ticks.len() <= MOST_TICKS,
                "{axis:?} {ticks:?}"
            );
            assert!(
                ticks.iter().all(|tick| axis.shows(*tick)),
                "{axis:?} {ticks:?}"
            );
            let mut texts: Vec<_> = ticks.iter().map(|tick| axis.format_ext(tick)).collect();
            texts.dedup();
            assert_eq!(texts.len(), ticks.len(), "{texts:?}");
        }
        let axis = Axis::around([16.8, 25_000.0], true).unwrap();
        assert!(axis.ticks().contains(&1000.0));
    }

    #[test]
    fn equal_factors_are_equal_lengths_on_a_logarithmic_axis() {
        let axis = Axis::around([1.0, 100.0], true).unwrap();
        let at = |value: f64| axis.map(&value, (0, 1000));
        assert!((at(10.0) - at(1.0) - (at(100.0) - at(10.0))).abs() <= 1);
        assert_eq!(Axis::around([-1.0, 0.0, f64::NAN], true), None);
    }
}
