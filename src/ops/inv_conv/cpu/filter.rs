//! Filters in walking order: premultiplied for the solve, packed for the microkernel.

use super::microkernel::{accumulate, store, zeros};
use super::sizes::Sizes;
use crate::ops::vector::{arch, Real};
use crate::problem::Corner;
use crate::{Error, Result};
use pulp::{Simd, WithSimd};

/// Output channels that the microkernel may compute together.
const BLOCKS: [usize; 9] = [24, 16, 12, 8, 6, 4, 3, 2, 1];

/// Splits `channels` into blocks of at most `most`: `(first channel, size)`.
pub fn blocks(channels: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let fits = |size: &&usize| **size <= most && first + **size <= channels;
        let size = *BLOCKS.iter().find(fits)?;
        first += size;
        Some((first - size, size))
    })
}

/// Calls `$run::<OUT>` for the block size `$size`.
macro_rules! for_block_size {
    ($size:expr, $out:ident => $body:expr) => {
        match $size {
            24 => {
                const $out: usize = 24;
                $body
            }
            16 => {
                const $out: usize = 16;
                $body
            }
            12 => {
                const $out: usize = 12;
                $body
            }
            8 => {
                const $out: usize = 8;
                $body
            }
            6 => {
                const $out: usize = 6;
                $body
            }
            4 => {
                const $out: usize = 4;
                $body
            }
            3 => {
                const $out: usize = 3;
                $body
            }
            2 => {
                const $out: usize = 2;
                $body
            }
            _ => {
                const $out: usize = 1;
                $body
            }
        }
    };
}
pub(super) use for_block_size;

/// The coefficients of one block of outputs, `[operand][output]`.
#[derive(Debug)]
pub struct Block<T> {
    /// First output channel.
    pub first: usize,
    /// Outputs.
    pub size: usize,
    /// `[operand][output]`.
    pub weights: Vec<T>,
}

/// One group's filter in walking order, in double precision: entry `[a k + b][i][o]` multiplies `x[i, h-a, w-b]` for output
/// `o`. The anchor is triangular; the adjoint is the transposed filter.
pub struct Filter {
    channels: usize,
    kernel: usize,
    /// `[tap][input][output]`.
    taps: Vec<f64>,
    adjoint: bool,
}

impl Filter {
    /// `weight` is the group's part of the weight, `[C/g, C/g, k, k]`.
    pub fn new<T: Real>(sizes: &Sizes, weight: &[T], corner: Corner, adjoint: bool) -> Self {
        let (c, k) = (sizes.group_channels, sizes.kernel);
        let mut taps = vec![0.0; k * k * c * c];
        for (tap, matrix) in taps.chunks_exact_mut(c * c).enumerate() {
            let (row, column) = corner.tap_index(k as i64, (tap / k) as i64, (tap % k) as i64);
            let mut place = row as usize * k + column as usize;
            for out in 0..c {
                for input in 0..c {
                    // entries above the anchor's diagonal are not part of the operator
                    if tap > 0 || input <= out {
                        let at = if adjoint {
                            out * c + input
                        } else {
                            input * c + out
                        };
                        matrix[at] = weight[place].to_f64();
                    }
                    place += k * k;
                }
            }
        }
        Self {
            channels: c,
            kernel: k,
            taps,
            adjoint,
        }
    }

    /// Turns the filter into that of the solve, `x = D⁻¹ y - Σ (D⁻¹ W_ab) x[h-a, w-b]`: `D⁻¹` takes the place of the anchor,
    /// `-D⁻¹ W_ab` that of the other taps.
    ///
    /// # Errors
    /// A zero on the diagonal of the anchor, with its channel.
    pub fn invert(&mut self, first_channel: usize) -> Result<()> {
        let c = self.channels;
        if let Some(zero) = (0..c).find(|&i| self.taps[i * c + i] == 0.0) {
            let channel = (first_channel + zero) as i64;
            return Err(Error::zero_on_the_diagonal(channel));
        }
        arch().dispatch(Invert(self));
        Ok(())
    }

    /// The matrix `[input][output]` of the tap with offset (`a`, `b`).
    pub fn tap(&self, a: usize, b: usize) -> &[f64] {
        let size = self.channels * self.channels;
        &self.taps[(a * self.kernel + b) * size..][..size]
    }

    /// The coefficients for operands that are all channels of one tap after the other, in the order of `taps`.
    pub fn pack<T: Real>(
        &self,
        most: usize,
        taps: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> Vec<Block<T>> {
        let (c, k) = (self.channels, self.kernel);
        let pack = |(first, size)| {
            let mut weights = Vec::with_capacity(k * k * c * size);
            for (a, b) in taps.clone() {
                for outputs in self.tap(a, b).chunks_exact(c) {
                    let outputs = &outputs[first..first + size];
                    weights.extend(outputs.iter().map(|&value| T::from_f64(value)));
                }
            }
            Block {
                first,
                size,
                weights,
            }
        };
        blocks(c, most).map(pack).collect()
    }
}

/// [`Filter::invert`] for the best instruction set: with many channels it would take as long as the solve.
struct Invert<'a>(&'a mut Filter);

impl WithSimd for Invert<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (c, adjoint) = (self.0.channels, self.0.adjoint);
        let (anchor, others) = self.0.taps.split_at_mut(c * c);
        let mut inverse = triangular_inverse(anchor, c, adjoint);
        anchor.copy_from_slice(&inverse);
        inverse.iter_mut().for_each(|entry| *entry = -*entry);
        // columns of the inverse as operands, with room for the last vector
        let lanes = f64::lanes::<S>();
        let pitch = c.next_multiple_of(4 * lanes);
        let mut operands = vec![0.0; c * pitch];
        for (to, from) in operands
            .chunks_exact_mut(pitch)
            .zip(inverse.chunks_exact(c))
        {
            to[..c].copy_from_slice(from);
        }
        let mut out = vec![0.0; pitch];
        for column in others.chunks_exact_mut(c) {
            // column ← -D⁻¹ column, four vectors of outputs at a time
            for first in (0..c).step_by(4 * lanes) {
                let mut sums = zeros::<f64, S, 1, 4>(simd);
                let operands = operands[first..].chunks(pitch);
                accumulate::<f64, S, 1, 4>(simd, &mut sums, operands, column);
                store::<f64, S, 4>(&mut out[first..], &sums[0]);
            }
            column.copy_from_slice(&out[..c]);
        }
    }
}

/// `D⁻¹` of a triangular matrix that is stored by columns: lower triangular, or upper triangular for the adjoint.
#[inline(always)]
fn triangular_inverse(matrix: &[f64], c: usize, upper: bool) -> Vec<f64> {
    let mut inverse = vec![0.0; c * c];
    for column in 0..c {
        // substitution from the diagonal to the end of the triangle
        let x = &mut inverse[column * c..][..c];
        x[column] = 1.0;
        let last = if upper { column + 1 } else { c - column };
        for step in 0..last {
            let p = if upper { column - step } else { column + step };
            x[p] /= matrix[p * c + p];
            let value = x[p];
            let rest = if upper { 0..p } else { p + 1..c };
            for (x, entry) in x[rest.clone()].iter_mut().zip(&matrix[p * c..][rest]) {
                *x -= value * entry;
            }
        }
    }
    inverse
}

/// The order in which the solve adds up: the current pixel of `y`, then the rows from the farthest to the current one, and
/// in each the pixels from the farthest to the nearest. What the recursion waits for comes last.
pub fn solve_order(kernel: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let others = (0..kernel)
        .rev()
        .flat_map(move |a| (0..kernel).rev().map(move |b| (a, b)));
    std::iter::once((0, 0)).chain(others.filter(|&tap| tap != (0, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_channels_once() {
        for most in [1, 6, 12, 24] {
            for channels in 0..60 {
                let mut next = 0;
                for (first, size) in blocks(channels, most) {
                    assert_eq!(first, next);
                    assert!(size <= most);
                    next += size;
                }
                assert_eq!(next, channels);
            }
        }
        assert_eq!(blocks(24, 24).collect::<Vec<_>>(), [(0, 24)]);
        assert_eq!(blocks(24, 12).collect::<Vec<_>>(), [(0, 12), (12, 12)]);
    }

    #[test]
    fn a_triangular_inverse_is_one() {
        let c = 5;
        for upper in [false, true] {
            let inside = |p: usize, q: usize| if upper { p <= q } else { p >= q };
            let mut matrix = vec![0.0; c * c];
            for (p, q) in (0..c * c).map(|at| (at % c, at / c)) {
                if inside(p, q) {
                    matrix[q * c + p] = if p == q { 2.0 } else { 0.3 * p as f64 - 0.5 };
                }
            }
            let inverse = triangular_inverse(&matrix, c, upper);
            for (p, q) in (0..c * c).map(|at| (at % c, at / c)) {
                let product: f64 = (0..c).map(|m| matrix[m * c + p] * inverse[q * c + m]).sum();
                let expected = f64::from(u8::from(p == q));
                assert!(
                    (product - expected).abs() < 1e-14,
                    "{upper} {p} {q}: {product}"
                );
            }
        }
    }

    #[test]
    fn the_solve_adds_the_nearest_pixels_last() {
        let order: Vec<_> = solve_order(2).collect();
        assert_eq!(order, [(0, 0), (1, 1), (1, 0), (0, 1)]);
        assert_eq!(solve_order(1).collect::<Vec<_>>(), [(0, 0)]);
    }
}
