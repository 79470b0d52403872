//! One tile: the sweep over the chunks of the middle, forward and backward.

use super::panels::Panels;
use super::product::{product, Add, Gated, Left, Relu, BLOCK};
use crate::ops::vector::transpose::turn;
use crate::ops::vector::Real;
use pulp::{Simd, WithSimd};

/// Channels of the middle that are computed at a time: whole blocks, and whole vectors of every instruction set.
pub const CHUNK: usize = 8 * BLOCK;

/// The two filters, packed as left factors.
pub struct Filters<T> {
    /// Rows of the patches, the row of ones for the bias included.
    pub patch_rows: usize,
    /// Rows of the result before its taps are folded: one for each tap and output.
    pub fold_rows: usize,
    /// Channels of the middle, whole chunks.
    pub middle: usize,
    /// W1, by blocks of the middle, and by blocks of patch rows.
    pub first: [Vec<T>; 2],
    /// W2, by blocks of fold rows, and by blocks of the middle.
    pub second: [Vec<T>; 2],
}

impl<T: Real> Filters<T> {
    /// `R = relu(W1 P)` of one panel, for the chunk of the middle that begins at `start`.
    #[inline(always)]
    fn relu<S: Simd>(&self, simd: S, start: usize, patches: &[T], chunk: &mut [T]) {
        let first = whole(&self.first[0], start, self.patch_rows);
        product(simd, first, (patches, Panels::<T>::width()), chunk, Relu);
    }
}

/// A packed matrix of `columns` columns, from row `start` on, which begins a block.
#[inline(always)]
fn whole<T>(packed: &[T], start: usize, columns: usize) -> Left<'_, T> {
    Left {
        blocks: &packed[start * columns..],
        stride: BLOCK * columns,
        columns,
    }
}

/// The columns of a chunk of the middle in a packed matrix that has them all.
#[inline(always)]
fn chunk_of<T>(packed: &[T], start: usize, middle: usize) -> Left<'_, T> {
    Left {
        blocks: &packed[start * BLOCK..],
        stride: BLOCK * middle,
        columns: CHUNK,
    }
}

/// Adds a tile's result, before its taps are folded, to `folds`.
pub struct Forward<'a, T> {
    pub filters: &'a Filters<T>,
    pub patches: &'a Panels<T>,
    pub folds: &'a mut Panels<T>,
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (filters, width) = (self.filters, Panels::<T>::width());
        let mut chunk = vec![T::default(); CHUNK * width];
        let (patch_len, fold_len) = (self.patches.panel_len(), self.folds.panel_len());
        for start in (0..filters.middle).step_by(CHUNK) {
            let second = chunk_of(&filters.second[0], start, filters.middle);
            let panels = self.patches.data.chunks_exact(patch_len);
            for (patches, folds) in panels.zip(self.folds.data.chunks_exact_mut(fold_len)) {
                filters.relu(simd, start, patches, &mut chunk);
                product(simd, second, (&chunk, width), folds, Add);
            }
        }
    }
}

/// Adds a tile's gradients of the patches to `patch_grads`, and those of the filters to `first` and `second`, which are
/// `[chunk][patch row][channel of the chunk]` and `[chunk][fold row][channel of the chunk]`.
///
/// The products that make tensors have the pixels as their lanes, those that make the filters' gradients the channels
/// of the middle: so no sum goes across lanes, for the price of turning a chunk over.
pub struct Backward<'a, T> {
    pub filters: &'a Filters<T>,
    pub patches: &'a Panels<T>,
    /// The gradient of the result, unfolded.
    pub folds: &'a Panels<T>,
    pub patch_grads: &'a mut Panels<T>,
    pub first: &'a mut [T],
    pub second: &'a mut [T],
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (filters, width) = (self.filters, Panels::<T>::width());
        let (patch_len, fold_len) = (self.patches.panel_len(), self.folds.panel_len());
        let (patches_turned, folds_turned) = (self.patches.turned(), self.folds.turned());
        let mut chunk = vec![T::default(); CHUNK * width];
        let (mut grads, mut turned) = (chunk.clone(), chunk.clone());
        // the row of ones gets no gradient, but the blocks are whole
        let grad_len = self.patch_grads.panel_len();
        let sums = self.first.chunks_exact_mut(patch_len / width * CHUNK);
        let sums = sums.zip(self.second.chunks_exact_mut(fold_len / width * CHUNK));
        for (index, (first, second)) in sums.enumerate() {
            let start = index * CHUNK;
            let transposed = [
                chunk_of(&filters.first[1], start, filters.middle),
                whole(&filters.second[1], start, filters.fold_rows),
            ];
            let grad_panels = self.patch_grads.data.chunks_exact_mut(grad_len);
            for (panel, patch_grads) in grad_panels.enumerate() {
                let patches = &self.patches.data[panel * patch_len..][..patch_len];
                let folds = &self.folds.data[panel * fold_len..][..fold_len];
                filters.relu(simd, start, patches, &mut chunk);
                let gate = Gated(&chunk);
                product(simd, transposed[1], (folds, width), &mut grads, gate);
                product(simd, transposed[0], (&grads, width), patch_grads, Add);

                turn(simd, &grads, [CHUNK, width], &mut turned);
                let patches = whole(&patches_turned[panel * patch_len..], 0, width);
                product(simd, patches, (&turned, CHUNK), first, Add);
                turn(simd, &chunk, [CHUNK, width], &mut turned);
                let folds = whole(&folds_turned[panel * fold_len..], 0, width);
                product(simd, folds, (&turned, CHUNK), second, Add);
            }
        }
    }
}
