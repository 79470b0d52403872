//! The taps of the rows above, for large filters: a convolution along the row, by the discrete Fourier transform.
//!
//! What the rows above a row contribute is a sum of one-dimensional convolutions, whose inputs are final. Each is a
//! product of spectra, and spectra add up over rows and channels before they are transformed back. A segment of `S`
//! columns sees `S + k - 1` columns; its transform of that length `N` wraps around only where nobody looks. A complex
//! product takes three real ones,
//!
//! ```text
//! (p + iq)(c + id) = (k1 - k3) + i(k1 + k2),   k1 = c (p + q),  k2 = p (d - c),  k3 = q (c + d)
//! ```
//!
//! so everything is real matrices, [`Components`]: of a segment into about `3N/2` components, of a filter's row into as
//! many, and of the products back. The matrices are applied by the microkernel like any other taps.
//!
//! Error: a component mixes the columns of a segment, so the rounding error is relative to the segment's largest element,
//! where the direct sum's is relative to each pixel's own neighbours. In a recursion that grows across the image this
//! drowns the small elements; [`damped`] tells, and such tiles are solved again directly.

use super::filter::{blocks, Block, Filter};
use super::sizes::Sizes;
use crate::ops::vector::{arch, Real};
use pulp::{Simd, WithSimd};
use std::f64::consts::TAU;
use std::ops::Range;

/// The shortest side of a filter for which spectra are used: below, sums are short and the gain is small.
const SHORTEST: usize = 7;
/// Columns of a segment, unless the image is narrower.
const SEGMENT: usize = 24;
/// Elements of the spectra of all rows that are still needed, at most: they stay in the second-level cache.
const WORKING_SET: usize = 128 * 1024;
/// Growth of the largest element up to which spectra are exact enough.
const GROWTH: f64 = 64.0;

/// The three matrices of a convolution along a segment.
#[derive(Debug)]
struct Components {
    /// `[component][column]`, of the segment's inputs.
    input: Vec<Vec<f64>>,
    /// `[component][tap]`.
    filter: Vec<Vec<f64>>,
    /// `[component][column]`, of the segment's outputs.
    output: Vec<Vec<f64>>,
}

impl Components {
    /// For segments of `segment` columns and filters of `kernel` columns.
    fn new(segment: usize, kernel: usize) -> Self {
        let length = length(segment, kernel);
        let mut all = Self {
            input: Vec::new(),
            filter: Vec::new(),
            output: Vec::new(),
        };
        for frequency in 0..=length / 2 {
            let angle = TAU * frequency as f64 / length as f64;
            let wave = |size: usize, first: usize, of: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
                let wave = (first..first + size).map(|at| (angle * at as f64).sin_cos());
                wave.map(|(sin, cos)| of(sin, cos)).collect()
            };
            let real = frequency == 0 || 2 * frequency == length;
            let scale = if real { 1.0 } else { 2.0 } / length as f64;
            let mut push = |input: &dyn Fn(f64, f64) -> f64,
                            filter: &dyn Fn(f64, f64) -> f64,
                            output: &dyn Fn(f64, f64) -> f64| {
                all.input.push(wave(length, 0, input));
                all.filter.push(wave(kernel, 0, filter));
                // the first kernel - 1 columns may have wrapped around
                let output = wave(segment, kernel - 1, output);
                all.output
                    .push(output.iter().map(|value| value * scale).collect());
            };
            if real {
                push(&|_, cos| cos, &|_, cos| cos, &|_, cos| cos);
            } else {
                push(&|sin, cos| cos - sin, &|_, cos| cos, &|sin, cos| cos - sin);
                push(&|_, cos| cos, &|sin, cos| -sin - cos, &|sin, _| -sin);
                push(&|sin, _| -sin, &|sin, cos| cos - sin, &|_, cos| -cos);
            }
        }
        all
    }

    fn len(&self) -> usize {
        self.input.len()
    }
}

/// Columns of a segment for images of this width.
fn segment(width: usize) -> usize {
    if width <= SEGMENT {
        width
    } else {
        SEGMENT
    }
}

/// Length of a segment's transform: what the segment sees, or a little more where that makes components that fill blocks
/// of outputs.
fn length(segment: usize, kernel: usize) -> usize {
    let least = segment + kernel - 1;
    let fills = |length: &usize| components_of(*length).is_multiple_of(4);
    (least..least + 3).find(fills).unwrap_or(least)
}

/// Components of a transform: one for a frequency whose spectrum is real, else three.
fn components_of(length: usize) -> usize {
    (0..=length / 2)
        .map(|f| if f == 0 || 2 * f == length { 1 } else { 3 })
        .sum()
}

/// Components of a segment.
fn components(segment: usize, kernel: usize) -> usize {
    components_of(length(segment, kernel))
}

/// Whether spectra solve a tile sooner than direct sums, by the multiply-adds that each needs.
pub fn pays<T: Real>(sizes: &Sizes) -> bool {
    let Sizes {
        height,
        width,
        kernel,
        group_channels,
        ..
    } = *sizes;
    if kernel < SHORTEST || sizes.batch < T::LANES / 2 {
        return false;
    }
    let reached = |size: usize| (1..=size).map(|n| n.min(kernel)).sum::<usize>();
    let direct = reached(height) * reached(width) * group_channels;
    let segment = segment(width);
    let (segments, components) = (width.div_ceil(segment), components(segment, kernel));
    let products = (reached(height) - height) * segments * components * group_channels;
    let transforms = height * segments * components * (2 * segment + kernel - 1);
    let row = height * reached(width) * group_channels;
    let kept = segments * components * (kernel - 1).min(height) * group_channels * T::LANES;
    kept <= WORKING_SET && 5 * (products + transforms + row) < 4 * direct
}

/// The transforms and the spectra of one group's filter.
#[derive(Debug)]
pub struct Spectrum<T> {
    /// Columns of a segment.
    pub segment: usize,
    /// Components of a segment.
    pub components: usize,
    /// Columns that a segment sees to its left.
    pub left: usize,
    /// From `[column]` to blocks of components.
    pub input: Vec<Block<T>>,
    /// For each component, from `[row above, farthest first][input channel]` to blocks of output channels.
    pub filter: Vec<Vec<Block<T>>>,
    /// From `[component]` to blocks of columns.
    pub output: Vec<Block<T>>,
}

impl<T: Real> Spectrum<T> {
    /// Of a filter that is ready for the solve, in blocks of at most `most` outputs.
    pub fn new(sizes: &Sizes, filter: &Filter, most: usize) -> Self {
        let (c, kernel) = (sizes.group_channels, sizes.kernel);
        let segment = segment(sizes.width);
        let parts = Components::new(segment, kernel);
        let filters = parts.filter.iter().map(|waves| {
            let rows = arch().dispatch(Combine {
                filter,
                kernel,
                waves,
            });
            columns(&rows, c, most)
        });
        let filter = filters.collect();
        Self {
            segment,
            components: parts.len(),
            left: kernel - 1,
            input: columns(&transposed(&parts.input), parts.len(), most),
            filter,
            output: columns(&parts.output.concat(), segment, most),
        }
    }

    /// The segments of a row of `width` columns: the columns of each.
    pub fn segments(&self, width: usize) -> impl Iterator<Item = Range<usize>> {
        let size = self.segment;
        (0..width)
            .step_by(size)
            .map(move |first| first..(first + size).min(width))
    }
}

/// One component of all rows of a filter but the anchor's, `[row, farthest first][input][output]`.
struct Combine<'a> {
    filter: &'a Filter,
    kernel: usize,
    waves: &'a [f64],
}

impl WithSimd for Combine<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Vec<f64> {
        let size = self.filter.tap(0, 0).len();
        let mut rows = vec![0.0; (self.kernel - 1) * size];
        for (a, row) in (1..self.kernel).rev().zip(rows.chunks_exact_mut(size)) {
            for (b, wave) in self.waves.iter().enumerate() {
                for (sum, tap) in row.iter_mut().zip(self.filter.tap(a, b)) {
                    *sum += wave * tap;
                }
            }
        }
        rows
    }
}

fn transposed(rows: &[Vec<f64>]) -> Vec<f64> {
    let columns = rows.first().map_or(0, Vec::len);
    (0..columns)
        .flat_map(|column| rows.iter().map(move |row| row[column]))
        .collect()
}

/// Cuts a matrix `[operand][output]` into blocks of outputs.
fn columns<T: Real>(matrix: &[f64], outputs: usize, most: usize) -> Vec<Block<T>> {
    let block = |(first, size)| Block {
        first,
        size,
        weights: matrix
            .chunks_exact(outputs)
            .flat_map(|row| &row[first..first + size])
            .map(|&value| T::from_f64(value))
            .collect(),
    };
    blocks(outputs, most).map(block).collect()
}

/// Whether a solve that took `y` to `x` grew so little that its spectra were exact enough; false for what is not finite.
pub fn damped<'a, T: Real>(
    y: impl Iterator<Item = &'a [T]>,
    x: impl Iterator<Item = &'a [T]>,
) -> bool {
    let [y, x] = [
        y.map(largest).fold(0.0, f64::max),
        x.map(largest).fold(0.0, f64::max),
    ];
    y.is_finite() && x <= GROWTH * y
}

/// Largest absolute value; infinite if there is a NaN.
fn largest<T: Real>(values: &[T]) -> f64 {
    const LANES: usize = 16;
    let zero = T::default();
    let mut most = [zero; LANES];
    let mut finite = [zero; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut last = [zero; LANES];
    last[..rest.len()].copy_from_slice(rest);
    for chunk in whole.iter().chain([&last]) {
        for lane in 0..LANES {
            let size = chunk[lane].absolute();
            most[lane] = if size > most[lane] { size } else { most[lane] };
            finite[lane] += chunk[lane] * zero; // NaN for NaN and infinity
        }
    }
    if finite.iter().any(|&sum| sum != zero) {
        return f64::INFINITY;
    }
    most.iter().map(|value| value.to_f64()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_components_of_a_segment_make_a_convolution() {
        for (segment, kernel) in [(5, 3), (6, 3), (16, 11), (7, 7), (1, 4)] {
            let parts = Components::new(segment, kernel);
            assert_eq!(parts.len(), components(segment, kernel));
            let x: Vec<f64> = (0..segment + kernel - 1)
                .map(|i| (i as f64).sin())
                .collect();
            let taps: Vec<f64> = (0..kernel).map(|i| (i as f64 + 0.5).cos()).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            for column in 0..segment {
                let direct: f64 = (0..kernel)
                    .map(|b| taps[b] * x[column + kernel - 1 - b])
                    .sum();
                let by_components: f64 = (0..parts.len())
                    .map(|f| {
                        let product = dot(&parts.input[f], &x) * dot(&parts.filter[f], &taps);
                        product * parts.output[f][column]
                    })
                    .sum();
                assert!(
                    (direct - by_components).abs() < 1e-12,
                    "{segment} {kernel} {column}"
                );
            }
        }
    }

    #[test]
    fn growth_and_what_is_not_finite_are_seen() {
        let y = vec![1.0f32; 37];
        let with = |value: f32| {
            let mut x = y.clone();
            x[36] = value;
            damped([&*y].into_iter(), [&*x].into_iter())
        };
        assert!(with(-60.0) && !with(-70.0) && !with(f32::NAN) && !with(f32::NEG_INFINITY));
    }
}
