//! Filters, repacked for the sweep: walked from the top left, output channels in blocks.

use super::{Real, Sizes};
use crate::ops::Corner;
use crate::{Error, Result};

/// Output channels that are computed together, in registers.
pub const BLOCKS: [usize; 4] = [8, 4, 2, 1];

/// Splits `channels` into blocks: `(first channel, size)`.
pub fn blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let size = *BLOCKS.iter().find(|&&size| first + size <= channels)?;
        first += size;
        Some((first - size, size))
    })
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
                    for input in 0..c {
                        // entries above the anchor's diagonal are not part of the operator
                        if tap > 0 || input <= out {
                            let at = if adjoint {
                                input * c + out
                            } else {
                                out * c + input
                            };
                            matrix[at] = weight[(out * c + input) * k * k + index].to_f64();
                        }
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

    /// The filter of the solve: `x = D⁻¹ y - Σ (D⁻¹ W_ab) x[h-a, w-b]`. Returns `D⁻¹` and leaves `-D⁻¹ W_ab` in place of the
    /// other taps.
    ///
    /// # Errors
    /// A zero on the diagonal of the anchor, with its channel.
    pub fn invert(&mut self, op: &'static str, first_channel: usize) -> Result<Vec<f64>> {
        let c = self.channels;
        let anchor = &self.taps[0];
        if let Some(zero) = (0..c).find(|&i| anchor[i * c + i] == 0.0) {
            return Err(Error::argument(
                op,
                "weight",
                format!(
                    "has a zero on the diagonal of the anchor tap at channel {}: the convolution has no inverse",
                    first_channel + zero
                ),
            ));
        }
        let mut inverse = vec![0.0; c * c];
        for column in 0..c {
            inverse[column * c + column] = 1.0;
        }
        self.apply_anchor_inverse(&mut inverse);
        for tap in 1..self.taps.len() {
            let mut matrix = std::mem::take(&mut self.taps[tap]);
            self.apply_anchor_inverse(&mut matrix);
            matrix.iter_mut().for_each(|value| *value = -*value);
            self.taps[tap] = matrix;
        }
        Ok(inverse)
    }

    /// `rows ← D⁻¹ rows` by substitution, in the order of the triangle: downwards, or upwards for the adjoint.
    fn apply_anchor_inverse(&self, rows: &mut [f64]) {
        let c = self.channels;
        let anchor = &self.taps[0];
        for step in 0..c {
            let row = if self.adjoint { c - 1 - step } else { step };
            for done in 0..step {
                let earlier = if self.adjoint { c - 1 - done } else { done };
                let factor = anchor[row * c + earlier];
                for column in 0..c {
                    rows[row * c + column] -= factor * rows[earlier * c + column];
                }
            }
            for value in &mut rows[row * c..(row + 1) * c] {
                *value /= anchor[row * c + row];
            }
        }
    }

    /// Coefficients of one block of outputs in the order in which the sweep reads its operands: `[operand][output]`. The
    /// operands are, for every row offset a = 0, 1, ..., the pixels from the leftmost to the nearest, all channels of each;
    /// with `skip_anchor` the current pixel is left out.
    pub fn pack<T: Real>(&self, (first, size): (usize, usize), skip_anchor: bool) -> Vec<T> {
        let (c, k) = (self.channels, self.kernel);
        let mut packed = Vec::with_capacity(k * k * c * size);
        for a in 0..k {
            for b in (0..k).rev().filter(|&b| !(skip_anchor && a == 0 && b == 0)) {
                pack_matrix(&mut packed, &self.taps[a * k + b], c, first..first + size);
            }
        }
        packed
    }
}

/// Appends rows `outputs` of a `c x c` matrix, column by column.
pub fn pack_matrix<T: Real>(
    packed: &mut Vec<T>,
    matrix: &[f64],
    c: usize,
    outputs: std::ops::Range<usize>,
) {
    for input in 0..c {
        packed.extend(
            outputs
                .clone()
                .map(|out| T::from_f64(matrix[out * c + input])),
        );
    }
}
