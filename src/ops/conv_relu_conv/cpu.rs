//! The pair of convolutions on the CPU: matrix products over the pixels of a few images, chunk by chunk of the middle.
//!
//! ```text
//! patches P [C k^2, pixels] (and a row of ones for the bias)
//! forward, for every chunk of the middle:   R = relu(W1 P),   Y += W2 R,    then fold the taps of Y
//! backward, likewise:   R = relu(W1 P),   D = (W2ᵀ dY) [R > 0],   dP += W1ᵀ D,   dW1 += D Pᵀ,   dW2 += dY Rᵀ
//! ```
//!
//! Floor: `2 N H W M (C k^2 + C' k'^2)` flops forward and three times that backward, of which a third is computing R
//! again; images and their gradients are read and written once.

use super::panels::{pack, Panels};
use super::product::BLOCK;
use super::shift::Shift;
use super::sizes::ConvSizes;
use super::sweep::{Backward, Filters, Forward, CHUNK};
use crate::ffi::threads::{parallel_chunks, parallel_chunks2};
use crate::ops::vector::Real;
use pulp::Arch;

/// Partial sums of the filters' gradients that are kept apart; fixed, so that they do not depend on the threads.
const PARTIALS: usize = 20;
/// Bytes of a tile's patches at most, but for an image that is larger: they, turned over, and their gradients stay in
/// the second cache of a core.
const TILE_BYTES: usize = 128 * 1024;

/// One call, with its filters packed.
pub struct Pair<T> {
    shape: ConvSizes,
    filters: Filters<T>,
    /// Images whose gradients go into the same partial sum.
    slot_images: usize,
    tile_images: usize,
}

/// Where the gradients go.
pub struct Gradients<'a, T> {
    pub x: &'a mut [T],
    pub first: &'a mut [T],
    pub second: &'a mut [T],
    pub bias: Option<&'a mut [T]>,
}

impl<T: Real> Pair<T> {
    pub fn new(shape: &ConvSizes, first: &[T], bias: Option<&[T]>, second: &[T]) -> Self {
        let [k, l] = shape.sides;
        let inputs = shape.inputs * k * k;
        let (patch_rows, fold_rows) = (inputs + usize::from(shape.bias), shape.outputs * l * l);
        let middle = shape.middle.next_multiple_of(CHUNK);
        let first_at = |m: usize, row: usize| match bias {
            _ if m >= shape.middle => T::default(),
            Some(bias) if row == inputs => bias[m],
            _ => first[m * inputs + row],
        };
        let second_at = |row: usize, m: usize| {
            if m >= shape.middle {
                return T::default();
            }
            let (tap, output) = (row / shape.outputs, row % shape.outputs);
            second[(output * shape.middle + m) * l * l + tap]
        };
        let filters = Filters {
            patch_rows,
            fold_rows,
            middle,
            first: [
                pack(middle, patch_rows, first_at),
                pack(inputs, middle, |row, m| first_at(m, row)),
            ],
            second: [
                pack(fold_rows, middle, second_at),
                pack(middle, fold_rows, |m, row| second_at(row, m)),
            ],
        };
        let slot_images = shape.images.div_ceil(PARTIALS).max(1);
        let image_bytes = (patch_rows * shape.pixels() * std::mem::size_of::<T>()).max(1);
        let most = (TILE_BYTES / image_bytes).clamp(1, slot_images);
        Self {
            shape: *shape,
            filters,
            slot_images,
            tile_images: tile_images(slot_images, most, shape.pixels(), Panels::<T>::width()),
        }
    }

    /// `rows` for the pixels of a tile.
    fn panels(&self, rows: usize, images: usize) -> Panels<T> {
        Panels::new(rows, images * self.shape.pixels())
    }

    pub fn forward(&self, x: &[T], y: &mut [T]) {
        let image = self.shape.inputs * self.shape.pixels();
        let out = self.shape.outputs * self.shape.pixels();
        let arch = Arch::new();
        parallel_chunks(y, self.tile_images * out, |tile, y| {
            let images = y.len() / out;
            let first_image = tile * self.tile_images;
            let patches = self.patches(&x[first_image * image..][..images * image]);
            let mut folds = self.panels(self.filters.fold_rows, images);
            arch.dispatch(Forward {
                filters: &self.filters,
                patches: &patches,
                folds: &mut folds,
            });
            y.fill(T::default());
            let mut plane = vec![T::default(); self.shape.pixels()];
            self.for_each_fold(images, |row, at, output, shift| {
                folds.read(row, at, &mut plane);
                let y = &mut y[output..][..self.shape.pixels()];
                shift.reversed().scatter_add(&plane, y);
            });
        });
    }

    pub fn backward(&self, x: &[T], y_grad: &[T], grads: Gradients<'_, T>) {
        let image = self.shape.inputs * self.shape.pixels();
        let out = self.shape.outputs * self.shape.pixels();
        let slot_images = self.slot_images;
        let slots = self.shape.images.div_ceil(slot_images);
        let Filters {
            patch_rows,
            fold_rows,
            middle,
            ..
        } = self.filters;
        let lengths = [patch_rows, fold_rows].map(|rows| middle * rows.next_multiple_of(BLOCK));
        let length = lengths[0] + lengths[1];
        let mut partials = vec![T::default(); slots * length];
        let arch = Arch::new();
        parallel_chunks2(
            (grads.x, slot_images * image),
            (&mut partials, length),
            |slot, x_grad, sums| {
                let (first, second) = sums.split_at_mut(lengths[0]);
                for (tile, x_grad) in x_grad.chunks_mut(self.tile_images * image).enumerate() {
                    let images = x_grad.len() / image;
                    let first_image = slot * slot_images + tile * self.tile_images;
                    let patches = self.patches(&x[first_image * image..][..images * image]);
                    let mut plane = vec![T::default(); self.shape.pixels()];
                    let mut folds = self.panels(fold_rows, images);
                    let y_grad = &y_grad[first_image * out..][..images * out];
                    self.for_each_fold(images, |row, at, output, shift| {
                        plane.fill(T::default());
                        let y_grad = &y_grad[output..][..self.shape.pixels()];
                        shift.reversed().gather(y_grad, &mut plane);
                        folds.write(row, at, &plane);
                    });
                    let mut patch_grads = self.panels(self.inputs(), images);
                    arch.dispatch(Backward {
                        filters: &self.filters,
                        patches: &patches,
                        folds: &folds,
                        patch_grads: &mut patch_grads,
                        first,
                        second,
                    });
                    x_grad.fill(T::default());
                    self.for_each_patch(images, |row, at, input, shift| {
                        patch_grads.read(row, at, &mut plane);
                        let x_grad = &mut x_grad[input..][..self.shape.pixels()];
                        shift.scatter_add(&plane, x_grad);
                    });
                }
            },
        );
        self.unpack(&partials, lengths, grads.first, grads.second, grads.bias);
    }

    /// Adds the slots' sums up, in their order, and sorts them into the filters' gradients.
    fn unpack(
        &self,
        partials: &[T],
        lengths: [usize; 2],
        first: &mut [T],
        second: &mut [T],
        bias: Option<&mut [T]>,
    ) {
        let (m, l, inputs) = (self.shape.middle, self.shape.sides[1], self.inputs());
        let length = lengths[0] + lengths[1];
        let mut totals = vec![T::default(); length];
        for partial in partials.chunks_exact(length) {
            totals
                .iter_mut()
                .zip(partial)
                .for_each(|(total, &part)| *total += part);
        }
        let (of_first, of_second) = totals.split_at(lengths[0]);
        let at = |sums: &[T], row: usize, m: usize| {
            let chunk = sums.len() / self.filters.middle * CHUNK;
            sums[m / CHUNK * chunk + row * CHUNK + m % CHUNK]
        };
        for (index, grad) in first.iter_mut().enumerate() {
            *grad = at(of_first, index % inputs, index / inputs);
        }
        for (index, grad) in bias.into_iter().flatten().enumerate() {
            *grad = at(of_first, inputs, index);
        }
        for (index, grad) in second.iter_mut().enumerate() {
            let (tap, channel) = (index % (l * l), index / (l * l));
            *grad = at(
                of_second,
                tap * self.shape.outputs + channel / m,
                channel % m,
            );
        }
    }

    /// Rows of the patches without the one for the bias.
    fn inputs(&self) -> usize {
        self.shape.inputs * self.shape.sides[0].pow(2)
    }

    /// The patches of `x`, a few whole images.
    fn patches(&self, x: &[T]) -> Panels<T> {
        let pixels = self.shape.pixels();
        let images = x.len() / (self.shape.inputs * pixels);
        let rows = self.filters.patch_rows;
        let mut patches = self.panels(rows, images);
        let mut plane = vec![T::default(); pixels];
        self.for_each_patch(images, |row, at, input, shift| {
            plane.fill(T::default());
            shift.gather(&x[input..][..pixels], &mut plane);
            patches.write(row, at, &plane);
        });
        if self.shape.bias {
            patches.write(rows - 1, 0, &vec![T::from_f64(1.0); images * pixels]);
        }
        patches
    }

    /// `visit(row, where an image begins in it, where the plane begins in the input, the tap's shift)`.
    fn for_each_patch(&self, images: usize, mut visit: impl FnMut(usize, usize, usize, Shift)) {
        let ConvSizes {
            inputs,
            height,
            width,
            sides: [side, _],
            ..
        } = self.shape;
        let pixels = self.shape.pixels();
        for image in 0..images {
            for channel in 0..inputs {
                for tap in 0..side * side {
                    let shift = Shift::of_tap(height, width, side, tap);
                    visit(
                        channel * side * side + tap,
                        image * pixels,
                        (image * inputs + channel) * pixels,
                        shift,
                    );
                }
            }
        }
    }

    /// Likewise for the rows of the result and the planes of the output.
    fn for_each_fold(&self, images: usize, mut visit: impl FnMut(usize, usize, usize, Shift)) {
        let ConvSizes {
            outputs,
            height,
            width,
            sides: [_, side],
            ..
        } = self.shape;
        let pixels = self.shape.pixels();
        for image in 0..images {
            for tap in 0..side * side {
                let shift = Shift::of_tap(height, width, side, tap);
                for channel in 0..outputs {
                    visit(
                        tap * outputs + channel,
                        image * pixels,
                        (image * outputs + channel) * pixels,
                        shift,
                    );
                }
            }
        }
    }
}

/// Images of a tile, `most` at most: the number that wastes the fewest lanes when `images` are cut into tiles whose
/// pixels fill whole panels; the largest of several.
fn tile_images(images: usize, most: usize, pixels: usize, panel: usize) -> usize {
    let padded = |tile: usize| (tile * pixels).next_multiple_of(panel);
    let all = |tile: usize| images / tile * padded(tile) + padded(images % tile);
    (1..=most).rev().min_by_key(|&tile| all(tile)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::tile_images;

    #[test]
    fn tiles_waste_few_lanes_and_are_large() {
        assert_eq!(tile_images(5, 5, 196, 32), 5); // 980 of 992
        assert_eq!(tile_images(5, 4, 64, 32), 4); // nothing is wasted anyway
        assert_eq!(tile_images(6, 4, 49, 32), 3); // 147 of 160 twice; 4 and 2 take 224 + 128
        assert_eq!(tile_images(1, 1, 7, 32), 1);
    }
}
