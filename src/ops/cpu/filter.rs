//! Filters in walking order: premultiplied for the solve, packed for the microkernel.

use super::simd::{arch, Real};
use super::Sizes;
use crate::ops::Corner;
use crate::{Error, Result};
use pulp::{Simd, WithSimd};

/// Output channels that the microkernel may compute together.
const BLOCKS: [usize; 8] = [16, 12, 8, 6, 4, 3, 2, 1];

/// Splits `channels` into blocks of at most `most`: `(first channel, size)`.
fn blocks(channels: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
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
            16 => { const $out: usize = 16; $body }
            12 => { const $out: usize = 12; $body }
            8 => { const $out: usize = 8; $body }
            6 => { const $out: usize = 6; $body }
            4 => { const $out: usize = 4; $body }
            3 => { const $out: usize = 3; $body }
            2 => { const $out: usize = 2; $body }
            _ => { const $out: usize = 1; $body }
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

/// One group's filter in walking order, in double precision: `at(a, b)[o * C + i]` multiplies `x[i, h-a, w-b]` for output
/// `o`. The anchor is triangular; the adjoint is the transposed filter.
pub struct Filter {
    channels: usize,
    kernel: usize,
    taps: Vec<Vec<f64>>,
    adjoint: bool,
}

impl Filter {
    /// `weight` is the group's part of the weight, `[C/g, C/g, k, k]`.
    pub fn new<T: Real>(sizes: &Sizes, weight: &[T], corner: Corner, adjoint: bool) -> Self {
        let (c, k) = (sizes.group_channels, sizes.kernel);
        let taps = (0..k * k)
            .map(|tap| {
                let (a, b) = (tap / k, tap % k);
                let (row, column) = corner.tap_index(k as i64, a as i64, b as i64);
                let index = row as usize * k + column as usize;
                let mut matrix = vec![0.0; c * c];
                for out in 0..c {
                    // entries above the anchor's diagonal are not part of the operator
                    let inputs = if tap > 0 { c } else { out + 1 };
                    for input in 0..inputs {
                        let at = if adjoint {
                            input * c + out
                        } else {
                            out * c + input
                        };
                        matrix[at] = weight[(out * c + input) * k * k + index].to_f64();
                    }
                }
                matrix
            })
            .collect();
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
    pub fn invert(&mut self, op: &'static str, first_channel: usize) -> Result<()> {
        let c = self.channels;
        if let Some(zero) = (0..c).find(|&i| self.taps[0][i * c + i] == 0.0) {
            return Err(Error::argument(
                op,
                "weight",
                format!(
                    "has a zero on the diagonal of the anchor tap at channel {}: the convolution has no inverse",
                    first_channel + zero
                ),
            ));
        }
        arch().dispatch(Invert(self));
        Ok(())
    }

    /// `rows ← D⁻¹ rows` by substitution, in the order of the triangle: downwards, or upwards for the adjoint.
    #[inline(always)]
    fn apply_anchor_inverse(anchor: &[f64], c: usize, adjoint: bool, rows: &mut [f64]) {
        for step in 0..c {
            let row = if adjoint { c - 1 - step } else { step };
            for done in 0..step {
                let earlier = if adjoint { c - 1 - done } else { done };
                let factor = anchor[row * c + earlier];
                let (low, high) = rows.split_at_mut(row.max(earlier) * c);
                let (target, source) = if row > earlier {
                    (&mut high[..c], &low[earlier * c..][..c])
                } else {
                    (&mut low[row * c..][..c], &high[..c])
                };
                for (target, source) in target.iter_mut().zip(source) {
                    *target -= factor * source;
                }
            }
            for value in &mut rows[row * c..(row + 1) * c] {
                *value /= anchor[row * c + row];
            }
        }
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
                let tap = &self.taps[a * k + b];
                for input in 0..c {
                    let column = (first..first + size).map(|out| T::from_f64(tap[out * c + input]));
                    weights.extend(column);
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

/// [`Filter::invert`] for the best instruction set: with many channels it is a matter of milliseconds.
struct Invert<'a>(&'a mut Filter);

impl WithSimd for Invert<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Filter {
            channels,
            taps,
            adjoint,
            ..
        } = self.0;
        let (c, adjoint) = (*channels, *adjoint);
        let mut inverse = vec![0.0; c * c];
        for i in 0..c {
            inverse[i * c + i] = 1.0;
        }
        let (anchor, others) = taps.split_at_mut(1);
        Filter::apply_anchor_inverse(&anchor[0], c, adjoint, &mut inverse);
        for tap in others {
            Filter::apply_anchor_inverse(&anchor[0], c, adjoint, tap);
            tap.iter_mut().for_each(|value| *value = -*value);
        }
        anchor[0] = inverse;
    }
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
        for most in [1, 6, 12, 16] {
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
        assert_eq!(blocks(24, 12).collect::<Vec<_>>(), [(0, 12), (12, 12)]);
    }

    #[test]
    fn the_solve_adds_the_nearest_pixels_last() {
        let order: Vec<_> = solve_order(2).collect();
        assert_eq!(order, [(0, 0), (1, 1), (1, 0), (0, 1)]);
        assert_eq!(solve_order(1).collect::<Vec<_>>(), [(0, 0)]);
    }
}
