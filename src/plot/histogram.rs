//! Histograms of several sets of numbers over each other.

use super::backend::{render, Drawing, Drawn, Scale, COLOURS};
use super::frame;
use crate::words::counted;
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Bins between the ends of the axis.
const BINS: usize = 60;

/// The axis goes at most so many times as far as the middle nine tenths of all numbers.
const MOST_SPREAD: f64 = 8.0;

/// A set of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Name in the legend.
    pub label: String,
    /// In any order; what is not finite is not drawn.
    pub values: Vec<f64>,
    /// Whether the bars are filled, or only an outline.
    pub filled: bool,
}

/// Saves a histogram of 900x540 pixels, as SVG if the path ends so, else as PNG: for each set the share of its numbers in every
/// bin. Numbers far away from all others are counted in a word at the axis.
///
/// # Errors
/// No finite number, or a path that cannot be written.
pub fn histogram(
    sets: &[Counted],
    title: &str,
    x_label: &str,
    path: impl AsRef<Path>,
) -> Result<()> {
    let bins = Bins::of(sets)
        .ok_or_else(|| Error::argument("histogram", "sets", "have no finite number to draw"))?;
    let shares: Vec<Vec<f64>> = sets.iter().map(|set| bins.shares(&set.values)).collect();
    let beyond = sets.iter().flat_map(|set| &set.values);
    let beyond = beyond.filter(|value| bins.bin(**value).is_none()).count();
    let x_label = match beyond {
        0 => x_label.to_owned(),
        _ => format!(
            "{x_label} ({} beyond the ends or not finite)",
            counted(beyond, "image")
        ),
    };
    let bars = Bars {
        sets,
        shares: &shares,
        bins,
        title,
        x_label,
    };
    render(&bars, path.as_ref())
}

/// Bins of one width.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bins {
    low: f64,
    width: f64,
}

impl Bins {
    /// Bins for all numbers that are not too far away from the others.
    fn of(sets: &[Counted]) -> Option<Self> {
        let all = sets.iter().flat_map(|set| set.values.iter().copied());
        let mut all: Vec<f64> = all.filter(|value| value.abs() < 1e30).collect();
        all.sort_by(f64::total_cmp);
        let at = |part: f64| {
            all.get((part * (all.len().max(1) - 1) as f64).round() as usize)
                .copied()
        };
        let (five, ninety_five) = (at(0.05)?, at(0.95)?);
        let room = MOST_SPREAD * (ninety_five - five);
        let (low, high) = (at(0.0)?.max(five - room), at(1.0)?.min(ninety_five + room));
        let length = match high - low {
            length if length > 1e-9 * high.abs().max(low.abs()) => length,
            _ => (1e-3 * high.abs()).max(1e-9),
        };
        // the largest number belongs to the last bin
        let width = length * (1.0 + 1e-9) / BINS as f64;
        Some(Self { low, width })
    }

    /// Which bin a number is in.
    fn bin(&self, value: f64) -> Option<usize> {
        let place = ((value - self.low) / self.width).floor();
        (0.0..BINS as f64)
            .contains(&place)
            .then_some(place as usize)
    }

    /// The part of `values` in each bin.
    fn shares(&self, values: &[f64]) -> Vec<f64> {
        let mut shares = vec![0.0; BINS];
        for bin in values.iter().filter_map(|value| self.bin(*value)) {
            shares[bin] += 1.0 / values.len() as f64;
        }
        shares
    }

    fn edge(&self, bin: usize) -> f64 {
        self.low + bin as f64 * self.width
    }
}

struct Bars<'a> {
    sets: &'a [Counted],
    shares: &'a [Vec<f64>],
    bins: Bins,
    title: &'a str,
    x_label: String,
}

impl Drawing for Bars<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: Scale) -> Drawn<B> {
        let bins = self.bins;
        let highest = self.shares.iter().flatten().copied().fold(0.0, f64::max);
        let mut chart = frame::titled(area, self.title, scale)
            .build_cartesian_2d(bins.edge(0)..bins.edge(BINS), 0.0..100.0 * highest * 1.08)?;
        let tick = |x: &f64| rounded(*x, bins.width * BINS as f64);
        let mut mesh = chart.configure_mesh();
        mesh.x_label_formatter(&tick);
        frame::grid(
            &mut mesh,
            [10, 8],
            [&self.x_label, "% of the images"],
            scale,
        );
        mesh.draw()?;
        let sets = self.sets.iter().zip(self.shares);
        for ((set, shares), colour) in sets.zip(COLOURS.into_iter().cycle()) {
            let line = colour.stroke_width(scale.px(if set.filled { 2 } else { 1 }));
            if set.filled {
                let bars = shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
                chart.draw_series(bars.map(|(bin, share)| {
                    let corners = [(bins.edge(bin), 0.0), (bins.edge(bin + 1), 100.0 * share)];
                    Rectangle::new(corners, colour.mix(0.35).filled())
                }))?;
            }
            let mut outline = vec![(bins.edge(0), 0.0)];
            for (bin, share) in shares.iter().enumerate() {
                outline.extend([bin, bin + 1].map(|edge| (bins.edge(edge), 100.0 * share)));
            }
            outline.push((bins.edge(BINS), 0.0));
            chart
                .draw_series([PathElement::new(outline, line)])?
                .label(set.label.clone())
                .legend(move |(left, middle)| {
                    let right = left + scale.px(24) as i32;
                    PathElement::new([(left, middle), (right, middle)], line)
                });
        }
        frame::legend(&mut chart, SeriesLabelPosition::UpperRight, scale)?;
        area.present()
    }
}

/// A number on an axis of this length, with the decimals that tell its ticks apart.
fn rounded(value: f64, length: f64) -> String {
    let decimals = (1.0 - length.log10()).ceil().clamp(0.0, 12.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[f64]) -> Counted {
        Counted {
            label: "set".into(),
            values: values.to_vec(),
            filled: true,
        }
    }

    #[test]
    fn every_number_is_in_one_bin_and_what_is_far_away_or_not_finite_in_none() {
        let mut values: Vec<f64> = (0..200).map(|i| f64::from(i) / 10.0).collect();
        let bins = Bins::of(&[set(&values)]).unwrap();
        let shares = bins.shares(&values);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(shares.iter().all(|share| *share > 0.0));
        values.extend([1e9, f64::NAN, f64::INFINITY]);
        let bins = Bins::of(&[set(&values)]).unwrap();
        let lost = values.iter().filter(|value| bins.bin(**value).is_none());
        assert_eq!(lost.count(), 3);
        assert_eq!(bins.bin(0.0), Some(0));
    }

    #[test]
    fn one_number_is_a_histogram_and_none_is_an_error() {
        let bins = Bins::of(&[set(&[2.5])]).unwrap();
        assert_eq!(bins.shares(&[2.5])[0], 1.0);
        assert_eq!(Bins::of(&[set(&[f64::NAN]), set(&[])]), None);
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.svg", "a.png"] {
            let path = dir.path().join(file);
            histogram(&[set(&[2.5, 3.0]), set(&[2.75])], "title", "bits", &path).unwrap();
            assert!(std::fs::metadata(path).unwrap().len() > 500);
        }
        assert!(histogram(&[set(&[])], "", "", dir.path().join("b.svg")).is_err());
    }
}
