//! What may be said of a number beside a printed one, and on what grounds.
//!
//! A time is never judged: the hardware differs, so there is a ratio, and the order of the methods among themselves. Bits
//! per dimension are judged within the rounding of the printed number and the deviation over seeds, if the run was
//! complete and on the paper's data.

use super::{Mode, Printed};
use crate::words::counted;

/// A verdict and its grounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// In one or two words.
    pub verdict: &'static str,
    /// The grounds, in a sentence.
    pub basis: String,
}

impl Judged {
    /// A verdict with its grounds.
    pub fn new(verdict: &'static str, basis: impl Into<String>) -> Self {
        Self {
            verdict,
            basis: basis.into(),
        }
    }
}

/// Standard deviations over seeds that a difference may have.
const DEVIATIONS: f64 = 2.0;

/// What a likelihood was measured under.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// Backbone of the row.
    pub mode: Mode,
    /// Data in use.
    pub data: &'a str,
    /// Whether they are those of the paper, all images of the split.
    pub own_data: bool,
    /// Whether all seeds were trained to the end of the recipe, or to the paper's number.
    pub complete: bool,
}

/// A likelihood, as one number for each seed, beside a printed one; lower is better.
pub fn likelihood(printed: Printed, seeds: &[f64], conditions: Conditions<'_>) -> Judged {
    if seeds.is_empty() {
        return no_likelihood();
    }
    if !conditions.own_data {
        let basis = format!(
            "measured on {}, not on the paper's test split",
            conditions.data
        );
        return Judged::new("not comparable", basis);
    }
    if matches!(conditions.mode, Mode::Harness | Mode::HarnessWide) {
        let basis = "the paper has no row on this backbone";
        return Judged::new("not judged", basis);
    }
    let (mean, sd) = mean_and_deviation(seeds);
    let difference = mean - printed.value();
    let tolerance = printed.rounding() + DEVIATIONS * sd.unwrap_or(0.0);
    let basis = match sd {
        Some(_) => format!(
            "difference {difference:+.4}, tolerance {tolerance:.4}: the printed rounding and {DEVIATIONS} deviations over {}",
            counted(seeds.len(), "seed")
        ),
        None => format!(
            "difference {difference:+.4}, tolerance {tolerance:.4}: the printed rounding; one seed tells no deviation"
        ),
    };
    match difference {
        d if d.abs() <= tolerance => Judged::new("agrees", basis),
        d if d < 0.0 => Judged::new("better", basis),
        _ if conditions.complete => Judged::new("worse", basis),
        _ => Judged::new(
            "budget too small",
            format!("{basis}; training ended before the end of the recipe"),
        ),
    }
}

/// A row that was trained and has no likelihood.
pub fn no_likelihood() -> Judged {
    Judged::new("no value", "no run gave a finite likelihood")
}

/// A number of parameters beside printed millions.
pub fn parameters(printed: Printed, count: i64, mode: Mode) -> Judged {
    match mode {
        Mode::Faithful => {}
        Mode::Tuned => return Judged::new("not judged", "settings of our own"),
        _ => return Judged::new("not judged", "the paper has no row on this backbone"),
    }
    let difference = count as f64 / 1e6 - printed.value();
    // a count on the border rounds either way
    if difference.abs() <= printed.rounding() * (1.0 + 1e-9) {
        Judged::new("agrees", "equal to the printed digits")
    } else {
        let basis =
            "no described setting has the printed count; this is the nearest or the published one";
        Judged::new("differs", basis)
    }
}

/// A time or an amount of memory.
pub fn cost(smoke: bool, same_work: bool) -> Judged {
    match (smoke, same_work) {
        (true, _) => Judged::new("smoke", "too few calls on too little work to mean anything"),
        (_, false) => Judged::new(
            "ratio only",
            "the batch is not the paper's, and the hardware differs",
        ),
        _ => Judged::new("ratio only", "the hardware differs"),
    }
}

/// Mean, and sample deviation of two or more.
pub fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
    (mean, sd)
}

/// Of all pairs of `(printed, measured)`, how many have the same order in both, and how many pairs there are; equal
/// numbers make no pair.
pub fn same_order(numbers: &[(f64, f64)]) -> (usize, usize) {
    let (mut same, mut pairs) = (0, 0);
    for (i, a) in numbers.iter().enumerate() {
        for b in &numbers[i + 1..] {
            let product = (a.0 - b.0) * (a.1 - b.1);
            if product != 0.0 {
                pairs += 1;
                same += usize::from(product > 0.0);
            }
        }
    }
    (same, pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAPER: Printed = Printed {
        text: "1.31",
        sd: "",
    };
    const FAIR: Conditions<'static> = Conditions {
        mode: Mode::Faithful,
        data: "mnist",
        own_data: true,
        complete: true,
    };

    fn verdict(seeds: &[f64], conditions: Conditions<'_>) -> &'static str {
        likelihood(PAPER, seeds, conditions).verdict
    }

    #[test]
    fn likelihoods_are_judged_within_rounding_and_the_deviation_over_seeds() {
        assert_eq!(verdict(&[1.3149], FAIR), "agrees");
        assert_eq!(verdict(&[1.316], FAIR), "worse");
        assert_eq!(verdict(&[1.2], FAIR), "better");
        // the same mean with a deviation of 0.02
        assert_eq!(verdict(&[1.30, 1.32, 1.34], FAIR), "agrees");
        let basis = likelihood(PAPER, &[1.30, 1.32, 1.34], FAIR).basis;
        assert!(
            basis.contains("+0.0100") && basis.contains("0.0450"),
            "{basis}"
        );
    }

    #[test]
    fn what_cannot_be_compared_is_not_judged() {
        let short = Conditions {
            complete: false,
            ..FAIR
        };
        assert_eq!(verdict(&[1.8], short), "budget too small");
        // to be better needs no more training
        assert_eq!(verdict(&[1.2], short), "better");
        let glyphs = Conditions {
            data: "glyphs",
            own_data: false,
            ..FAIR
        };
        let judged = likelihood(PAPER, &[1.31], glyphs);
        assert_eq!(judged.verdict, "not comparable");
        assert!(judged.basis.contains("glyphs"));
        // a bound on the bits of a size does not depend on who chose the settings
        let tuned = Conditions {
            mode: Mode::Tuned,
            ..FAIR
        };
        assert_eq!(verdict(&[1.2], tuned), "better");
        let harness = Conditions {
            mode: Mode::Harness,
            ..FAIR
        };
        assert_eq!(verdict(&[1.31], harness), "not judged");
        assert_eq!(verdict(&[], FAIR), "no value");
    }

    #[test]
    fn parameters_agree_to_the_printed_digits() {
        let printed = |text| Printed { text, sd: "" };
        let judged = |text, count| parameters(printed(text), count, Mode::Faithful).verdict;
        assert_eq!(judged("1.6", 1_640_968), "agrees");
        assert_eq!(judged("1.682", 1_681_504), "agrees");
        assert_eq!(judged("10.1", 10_042_824), "differs");
    }

    #[test]
    fn order_counts_pairs() {
        assert_eq!(same_order(&[(1.0, 10.0), (2.0, 20.0), (3.0, 15.0)]), (2, 3));
        assert_eq!(same_order(&[(1.0, 1.0), (1.0, 2.0)]), (0, 0));
    }
}
