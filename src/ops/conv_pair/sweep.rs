//! One tile: the sweep over the chunks of the middle, forward and backward.

use super::cpu::{Pair, CHUNK};
use super::tile::{Correlate, Multiply, Rows, BLOCK};
use crate::ops::cpu::Real;
use pulp::Arch;

impl<T: Real> Pair<T> {
    /// `R = relu(W1 P)` for the chunk of the middle that begins at `start`.
    fn chunk(&self, arch: Arch, start: usize, patches: &Rows<T>, chunk: &mut Rows<T>) {
        let stride = self.stride;
        for block in (0..CHUNK).step_by(BLOCK) {
            let a = &self.first[0][(start + block) * self.patch_rows..][..BLOCK * self.patch_rows];
            let c = &mut chunk.data[block * stride..][..BLOCK * stride];
            arch.dispatch(Multiply::<T, false> {
                a,
                b: &patches.data,
                stride,
                c,
            });
        }
        arch.dispatch(|| {
            for value in &mut chunk.data {
                // a NaN passes
                *value = if *value < T::default() {
                    T::default()
                } else {
                    *value
                };
            }
        });
    }

    /// Adds the tile's result, before its taps are folded, to `folds`.
    pub fn forward_tile(&self, arch: Arch, patches: &Rows<T>, folds: &mut Rows<T>) {
        let stride = self.stride;
        let mut chunk = Rows::new(CHUNK, stride);
        for start in (0..self.middle).step_by(CHUNK) {
            self.chunk(arch, start, patches, &mut chunk);
            for (block, c) in folds.data.chunks_exact_mut(BLOCK * stride).enumerate() {
                let a = &self.second[0][(block * self.middle + start) * BLOCK..][..CHUNK * BLOCK];
                arch.dispatch(Multiply::<T, true> {
                    a,
                    b: &chunk.data,
                    stride,
                    c,
                });
            }
        }
    }

    /// Adds the gradients of the patches to `patch_grads`, and those of the filters to `first` `[patch row][middle]` and
    /// `second` `[fold row][middle]`.
    pub fn backward_tile(
        &self,
        arch: Arch,
        patches: &Rows<T>,
        folds: &Rows<T>,
        patch_grads: &mut Rows<T>,
        [first, second]: [&mut [T]; 2],
    ) {
        let stride = self.stride;
        let (mut chunk, mut grads) = (Rows::new(CHUNK, stride), Rows::new(CHUNK, stride));
        for start in (0..self.middle).step_by(CHUNK) {
            self.chunk(arch, start, patches, &mut chunk);
            for block in (0..CHUNK).step_by(BLOCK) {
                let a =
                    &self.second[1][(start + block) * self.fold_rows..][..BLOCK * self.fold_rows];
                let c = &mut grads.data[block * stride..][..BLOCK * stride];
                arch.dispatch(Multiply::<T, false> {
                    a,
                    b: &folds.data,
                    stride,
                    c,
                });
            }
            arch.dispatch(|| {
                for (grad, &value) in grads.data.iter_mut().zip(&chunk.data) {
                    *grad = if value > T::default() {
                        *grad
                    } else {
                        T::default()
                    };
                }
            });
            let blocks = self.first[1].len() / (self.middle * BLOCK);
            let rows = patch_grads.data.chunks_exact_mut(BLOCK * stride);
            for (block, c) in rows.enumerate().take(blocks) {
                let a = &self.first[1][(block * self.middle + start) * BLOCK..][..CHUNK * BLOCK];
                arch.dispatch(Multiply::<T, true> {
                    a,
                    b: &grads.data,
                    stride,
                    c,
                });
            }
            for (rows, count, chunk, sums) in [
                (patches, self.patch_rows, &grads, &mut *first),
                (folds, self.fold_rows, &chunk, &mut *second),
            ] {
                arch.dispatch(Correlate {
                    rows,
                    count,
                    chunk,
                    chunk_rows: CHUNK,
                    sums,
                    middle: self.middle,
                    start,
                });
            }
        }
    }
}
