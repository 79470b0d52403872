//! Two sets of images side by side.

use super::auroc::auroc;
use super::table::{Reference, Row};
use crate::data::Dataset;
use crate::plot::{histogram, Counted};
use crate::words::counted;
use crate::Result;
use serde_json::{json, Value};
use std::path::Path;

/// Said beside every comparison.
const WARNING: &str = "Likelihood alone is a poor judge of what is out of distribution: flows give images of some other data sets a higher \
                       likelihood than their own (Nalisnick et al., Do Deep Generative Models Know What They Don't Know?, ICLR 2019, \
                       https://arxiv.org/abs/1810.09136). docs/score.md says what the other scores are.";

/// Images with their scores.
#[derive(Debug)]
pub struct Set {
    pub data: Dataset,
    pub rows: Vec<Row>,
}

impl Set {
    fn mean(&self, of: fn(&Row) -> f64) -> f64 {
        self.rows.iter().map(of).sum::<f64>() / self.rows.len() as f64
    }

    /// The indices of the `count` least likely images, the worst first; what is not a number counts as the least likely.
    pub fn least_likely(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let nll = |i: usize| match self.rows[i].nll_nats {
            nll if nll.is_nan() => f64::INFINITY,
            nll => nll,
        };
        order.sort_by(|&a, &b| nll(b).total_cmp(&nll(a)));
        order.truncate(count);
        order
    }

    /// What is said about the set.
    pub fn line(&self) -> String {
        format!(
            "{}: {}, NLL {:.3} nats, {:.4} bits per dimension",
            self.data.name,
            counted(self.rows.len(), "image"),
            self.mean(|row| row.nll_nats),
            self.mean(|row| row.bpd)
        )
    }

    /// The same for programs.
    pub fn summary(&self) -> Value {
        let finite = |number: f64| number.is_finite().then_some(number);
        json!({
            "data": self.data.name,
            "images": self.rows.len(),
            "nll_nats": finite(self.mean(|row| row.nll_nats)),
            "bpd": finite(self.mean(|row| row.bpd)),
            "not_finite": self.rows.iter().filter(|row| !row.nll_nats.is_finite()).count(),
        })
    }
}

impl Row {
    /// The line of a listing.
    pub fn line(&self) -> String {
        let name = self.file.clone().unwrap_or_else(|| self.index.to_string());
        let class = self
            .class
            .clone()
            .or(self.label.map(|label| label.to_string()));
        let class = class.map_or_else(String::new, |class| format!("  class {class}"));
        let rank = self
            .rank
            .map_or_else(String::new, |rank| format!("  rank {rank:.4}"));
        format!(
            "  {name:<12}{class}  NLL {:.3} nats, {:.4} bits per dimension{rank}",
            self.nll_nats, self.bpd
        )
    }
}

/// How well each score tells two sets apart.
#[derive(Debug)]
pub struct Comparison<'a> {
    first: &'a Dataset,
    second: &'a Dataset,
    /// Name of the score, its key, and how often it is larger for an image of the second set.
    scores: Vec<(&'static str, &'static str, f64)>,
}

impl<'a> Comparison<'a> {
    /// Of the two sets.
    pub fn new(first: &'a Set, second: &'a Set) -> Self {
        type Score = fn(&Row) -> Option<f64>;
        let scores: [(_, _, Score); 3] = [
            ("NLL", "nll", |row| Some(row.nll_nats)),
            ("typicality", "typicality", |row| row.typicality),
            ("NLL without PNG", "corrected", |row| {
                Some(row.corrected_bits)
            }),
        ];
        let of =
            |set: &Set, score: Score| -> Option<Vec<f64>> { set.rows.iter().map(score).collect() };
        let found = scores.into_iter().filter_map(|(name, key, score)| {
            let area = auroc(&of(first, score)?, &of(second, score)?)?;
            Some((name, key, area))
        });
        Self {
            first: &first.data,
            second: &second.data,
            scores: found.collect(),
        }
    }

    /// The set that a score finds less usual, if it finds a difference.
    fn less_usual(&self, area: f64) -> Option<&str> {
        match area {
            area if area > 0.5 => Some(&self.second.name),
            area if area < 0.5 => Some(&self.first.name),
            _ => None,
        }
    }

    /// What is said about it.
    pub fn lines(&self) -> Vec<String> {
        let (first, second) = (&self.first.name, &self.second.name);
        let mut lines = vec![format!(
            "AUROC, how often an image of {second} has a larger score than one of {first} (0.5: they cannot be told apart; \
             in brackets the other way round):"
        )];
        for (name, _, area) in &self.scores {
            let verdict = match (self.less_usual(*area), *name) {
                (None, _) => "no difference".to_owned(),
                (Some(set), "NLL") => format!("images of {set} are less likely"),
                (Some(set), _) => format!("images of {set} are less usual"),
            };
            lines.push(format!(
                "  {name:<16} {area:.4} ({:.4})  {verdict}",
                1.0 - area
            ));
        }
        lines.push(WARNING.to_owned());
        lines
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let areas = self.scores.iter().map(|(_, key, area)| {
            (
                (*key).to_owned(),
                json!({"auroc": area, "reversed": 1.0 - area, "less_usual": self.less_usual(*area)}),
            )
        });
        json!({
            "first": self.first.name,
            "second": self.second.name,
            "scores": areas.collect::<serde_json::Map<_, _>>(),
            "warning": WARNING,
        })
    }
}

/// Saves the histogram of all sets, with the outline of the reference.
///
/// # Errors
/// No finite likelihood, or the file cannot be written.
pub fn draw(sets: &[&Set], reference: Option<&Reference>, path: &Path) -> Result<()> {
    let mut shown: Vec<Counted> = sets
        .iter()
        .map(|set| Counted {
            label: set.data.name.clone(),
            values: set.rows.iter().map(|row| row.bpd).collect(),
            filled: true,
        })
        .collect();
    if let (Some(reference), Some(set)) = (reference, sets.first()) {
        let dimensions = set.data.chw.iter().product();
        let bpd = |nll: &f64| crate::distributions::bits_per_dim(*nll, dimensions);
        shown.push(Counted {
            label: format!("{} (reference)", reference.name),
            values: reference.nll().iter().map(bpd).collect(),
            filled: false,
        });
    }
    histogram(&shown, "Likelihood of images", "bits per dimension", path)
}
