//! From raw numbers to knots, and gradients back; one record of numbers for every set.

use crate::ffi::threads::parallel_chunks;
use crate::ops::vector::Real;
use crate::problem::spline::{derivative_offset, SplineSizes, MIN};

/// Sets that one thread takes at a time.
const SETS: usize = 32;

/// What the elements in one bin add up to, field by field; `g` and `l` are the gradients of the value and of the log
/// of the slope, `G_a` is the loss's derivative with respect to `a` at fixed everything else (see [`super::spline`]
/// for the letters).
pub const SUMS: usize = 7;
/// Σ g.
pub const G: usize = 0;
/// Σ g (y - y0) / h.
pub const G_RISE: usize = 1;
/// Σ l.
pub const L: usize = 2;
/// Σ G_u.
pub const U: usize = 3;
/// Σ u G_u.
pub const U_U: usize = 4;
/// Σ G_P.
pub const P: usize = 5;
/// Σ G_Q.
pub const Q: usize = 6;

/// Knots of all sets. A record holds x and y of the knots, their derivatives (`bins + 1` each), the softmaxes of
/// widths and heights (`bins` each) and the slope of softplus at the raw derivatives (`bins - 1`).
pub struct Knots {
    bins: usize,
    tail: f64,
    records: Vec<f64>,
}

/// One set's part of [`Knots`].
#[derive(Clone, Copy)]
pub struct Set<'a> {
    pub x: &'a [f64],
    pub y: &'a [f64],
    pub derivatives: &'a [f64],
    softmax: [&'a [f64]; 2],
    softplus_slope: &'a [f64],
}

/// One bin: where it begins, its lengths, and its end derivatives over its slope.
#[derive(Clone, Copy)]
pub struct Bin {
    pub x0: f64,
    pub width: f64,
    pub y0: f64,
    pub height: f64,
    pub p: f64,
    pub q: f64,
}

impl Set<'_> {
    pub fn bin(&self, j: usize) -> Bin {
        let (width, height) = (self.x[j + 1] - self.x[j], self.y[j + 1] - self.y[j]);
        let slope_inverse = width / height;
        Bin {
            x0: self.x[j],
            width,
            y0: self.y[j],
            height,
            p: self.derivatives[j] * slope_inverse,
            q: self.derivatives[j + 1] * slope_inverse,
        }
    }
}

impl Knots {
    pub fn new<T: Real>(
        sizes: &SplineSizes,
        tail: f64,
        [widths, heights, derivatives]: [&[T]; 3],
    ) -> Self {
        let bins = sizes.bins;
        let length = record_length(bins);
        let mut records = vec![0.0; sizes.sets() * length];
        let offset = derivative_offset();
        parallel_chunks(&mut records, SETS * length, |chunk, records| {
            for (index, record) in records.chunks_exact_mut(length).enumerate() {
                let set = chunk * SETS + index;
                let (knots, rest) = record.split_at_mut(3 * (bins + 1));
                let (x, knots) = knots.split_at_mut(bins + 1);
                let (y, d) = knots.split_at_mut(bins + 1);
                let (softmaxes, softplus_slope) = rest.split_at_mut(2 * bins);
                let (of_widths, of_heights) = softmaxes.split_at_mut(bins);
                axis(&widths[set * bins..][..bins], tail, x, of_widths);
                axis(&heights[set * bins..][..bins], tail, y, of_heights);
                (d[0], d[bins]) = (1.0, 1.0);
                let raw = &derivatives[set * (bins - 1)..][..bins - 1];
                for ((d, slope), raw) in d[1..].iter_mut().zip(softplus_slope).zip(raw) {
                    let raw = raw.to_f64() + offset;
                    // e^-|r| serves both, and neither overflows
                    let decay = (-raw.abs()).exp();
                    *d = MIN + raw.max(0.0) + decay.ln_1p();
                    *slope = if raw >= 0.0 { 1.0 } else { decay } / (1.0 + decay);
                }
            }
        });
        Self {
            bins,
            tail,
            records,
        }
    }

    pub fn set(&self, set: usize) -> Set<'_> {
        let bins = self.bins;
        let record = &self.records[set * record_length(bins)..][..record_length(bins)];
        let (knots, rest) = record.split_at(3 * (bins + 1));
        let (softmaxes, softplus_slope) = rest.split_at(2 * bins);
        let (of_widths, of_heights) = softmaxes.split_at(bins);
        Set {
            x: &knots[..bins + 1],
            y: &knots[bins + 1..2 * (bins + 1)],
            derivatives: &knots[2 * (bins + 1)..],
            softmax: [of_widths, of_heights],
            softplus_slope,
        }
    }

    /// Gradients of one set's raw numbers from its sums `[bins][SUMS]`, added into `[widths, heights, derivatives]`.
    ///
    /// ```text
    /// dL/dx0 = -Σ G_u / w            dL/dw = (-Σ u G_u + P Σ G_P + Q Σ G_Q - Σ l) / w
    /// dL/dy0 =  Σ g                  dL/dh = Σ g (y - y0)/h + (Σ l - P Σ G_P - Q Σ G_Q) / h
    /// dL/dd0 =  Σ G_P w / h          dL/dd1 = Σ G_Q w / h
    /// ```
    pub fn raw_gradient<T: Real>(&self, set: usize, sums: &[[f64; SUMS]], raw: [&mut [T]; 3]) {
        let bins = self.bins;
        let set = self.set(set);
        let mut knots = [vec![0.0; bins + 1], vec![0.0; bins + 1]];
        let mut derivatives = vec![0.0; bins + 1];
        for (j, sum) in sums.iter().enumerate() {
            let Bin {
                width,
                height,
                p,
                q,
                ..
            } = set.bin(j);
            let ends = p * sum[P] + q * sum[Q] - sum[L];
            let starts = [-sum[U] / width, sum[G]];
            let lengths = [(ends - sum[U_U]) / width, sum[G_RISE] - ends / height];
            for ((knots, start), length) in knots.iter_mut().zip(starts).zip(lengths) {
                knots[j] += start - length;
                knots[j + 1] += length;
            }
            derivatives[j] += sum[P] * width / height;
            derivatives[j + 1] += sum[Q] * width / height;
        }
        let [widths, heights, raw_derivatives] = raw;
        for ((raw, knots), softmax) in [widths, heights].into_iter().zip(&knots).zip(set.softmax) {
            axis_gradient(knots, softmax, self.tail, raw);
        }
        for ((raw, derivative), slope) in raw_derivatives
            .iter_mut()
            .zip(&derivatives[1..])
            .zip(set.softplus_slope)
        {
            *raw = T::from_f64(derivative * slope);
        }
    }
}

fn record_length(bins: usize) -> usize {
    3 * (bins + 1) + 2 * bins + bins - 1
}

/// Softmax of `raw`, and the knots: the outer ones are set, not summed up, so that the spline meets its tails exactly.
fn axis<T: Real>(raw: &[T], tail: f64, knots: &mut [f64], softmax: &mut [f64]) {
    let bins = raw.len();
    let largest = raw
        .iter()
        .map(|r| r.to_f64())
        .fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for (s, raw) in softmax.iter_mut().zip(raw) {
        *s = (raw.to_f64() - largest).exp();
        total += *s;
    }
    let mut at = 0.0;
    for (s, knot) in softmax.iter_mut().zip(knots.iter_mut()) {
        *s /= total;
        *knot = 2.0 * tail * at - tail;
        at += MIN + (1.0 - MIN * bins as f64) * *s;
    }
    knots[bins] = tail;
}

/// The gradient of [`axis`]: an inner knot is `2 tail` times the sum of the fractions before it.
fn axis_gradient<T: Real>(knots: &[f64], softmax: &[f64], tail: f64, raw: &mut [T]) {
    let bins = softmax.len();
    let mut fractions = vec![0.0; bins];
    for i in (0..bins - 1).rev() {
        fractions[i] = fractions[i + 1] + 2.0 * tail * knots[i + 1];
    }
    let mean: f64 = fractions.iter().zip(softmax).map(|(f, s)| f * s).sum();
    for ((raw, fraction), s) in raw.iter_mut().zip(&fractions).zip(softmax) {
        *raw = T::from_f64((1.0 - MIN * bins as f64) * s * (fraction - mean));
    }
}
