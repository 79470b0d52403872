//! The solve of many images at once: up to `LANES` images, transposed so that images are the lanes of a vector.
//!
//! No dependency of the recursion crosses a lane, so every pixel is a matrix-vector product at full width, whatever the
//! shape of the image. Large images are solved in bands of rows, so that the working set stays in the second-level cache.
//!
//! Floor: `2 B H W C² k²` flops less the taps that fall outside; images are read and written once.

use super::filter::{for_block_size, Block};
use super::lanes::Rows;
use super::plan::Group;
use super::simd::{accumulate, arch, store, zeros, Real};
use super::transpose::Block as Square;
use super::Sizes;
use pulp::{Simd, WithSimd};

/// Elements of a tile's working set, at most, unless one row alone is larger.
const WORKING_SET: usize = 96 * 1024;

/// What a worker keeps from tile to tile.
#[derive(Debug)]
pub struct Scratch<T> {
    /// `[row][column][channel][lane]`: the band's rows, below the `k-1` rows before it.
    rows: Vec<T>,
    /// The current pixel of `y`, `[channel][lane]`.
    pixel: Vec<T>,
    block: Square<T>,
    band: usize,
}

impl<T: Real> Scratch<T> {
    /// For the tiles of one call.
    pub fn new(sizes: &Sizes) -> Self {
        let row = sizes.width * sizes.group_channels * T::LANES;
        let halo = (sizes.kernel - 1).min(sizes.height);
        let band = (WORKING_SET / row)
            .saturating_sub(halo)
            .clamp(8, sizes.height.max(8));
        let band = band.min(sizes.height);
        Self {
            rows: vec![T::default(); (halo + band) * row],
            pixel: vec![T::default(); sizes.group_channels * T::LANES],
            block: Square::new(),
            band,
        }
    }
}

/// Solves the images of one tile, `[n][C][H][W]`, for all groups.
pub fn solve_tile<T: Real>(
    sizes: &Sizes,
    groups: &[Group<T>],
    scratch: &mut Scratch<T>,
    y: &[T],
    x: &mut [T],
) {
    for group in groups {
        arch().dispatch(SolveTile {
            sizes,
            group,
            scratch,
            y,
            x,
        });
    }
}

struct SolveTile<'a, T> {
    sizes: &'a Sizes,
    group: &'a Group<T>,
    scratch: &'a mut Scratch<T>,
    y: &'a [T],
    x: &'a mut [T],
}

impl<T: Real> WithSimd for SolveTile<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // a vector of the machine may be a part of a tile's lanes
        match T::LANES / T::lanes::<S>() {
            1 => self.run::<S, 1>(simd),
            2 => self.run::<S, 2>(simd),
            4 => self.run::<S, 4>(simd),
            8 => self.run::<S, 8>(simd),
            _ => self.run::<S, 16>(simd),
        }
    }
}

impl<T: Real> SolveTile<'_, T> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        let (height, width) = (self.sizes.height, self.sizes.width);
        let row = width * self.sizes.group_channels * T::LANES;
        let halo = self.scratch.rows.len() / row.max(1) - self.scratch.band;
        for first in (0..height).step_by(self.scratch.band.max(1)) {
            let rows = self.scratch.band.min(height - first);
            if first > 0 {
                // the last rows of the band before become the ones above this band
                self.scratch
                    .rows
                    .copy_within(self.scratch.band * row..(self.scratch.band + halo) * row, 0);
            }
            let band = Rows {
                sizes: self.sizes,
                first_channel: self.group.first_channel,
                walk: self.group.walk,
                first,
                count: rows,
            };
            let Scratch {
                rows: pixels,
                block,
                ..
            } = &mut *self.scratch;
            band.load::<T, S, V>(simd, self.y, block, &mut pixels[halo * row..]);
            for h in 0..rows {
                for w in 0..width {
                    self.pixel::<S, V>(simd, halo + h, w, (first + h).min(halo));
                }
            }
            let Scratch {
                rows: pixels,
                block,
                ..
            } = &mut *self.scratch;
            band.store::<T, S, V>(simd, &pixels[halo * row..], block, self.x);
        }
    }

    /// Solves pixel `w` of the buffer's row `row`, above which `above` rows are part of the image.
    #[inline(always)]
    fn pixel<S: Simd, const V: usize>(&mut self, simd: S, row: usize, w: usize, above: usize) {
        let elements = self.sizes.group_channels * T::LANES;
        let start = (row * self.sizes.width + w) * elements;
        let here = start..start + elements;
        // a single block reads the pixel before it writes it
        if self.group.blocks.len() > 1 {
            self.scratch.pixel.copy_from_slice(&self.scratch.rows[here]);
        }
        for block in &self.group.blocks {
            for_block_size!(block.size, OUT => {
                self.block::<S, OUT, V>(simd, block, row, w, above)
            });
        }
    }

    #[inline(always)]
    fn block<S: Simd, const OUT: usize, const V: usize>(
        &mut self,
        simd: S,
        block: &Block<T>,
        row: usize,
        w: usize,
        above: usize,
    ) {
        let (c, k, width) = (
            self.sizes.group_channels,
            self.sizes.kernel,
            self.sizes.width,
        );
        let elements = c * T::LANES;
        let mut sums = zeros::<T, S, OUT, V>(simd);
        let left = w.min(k - 1);
        let scratch = &*self.scratch;
        // no closure here: the compiler would not compile it for the instruction set
        let here = (row * width + w) * elements;
        let pixel = match self.group.blocks.len() {
            1 => &scratch.rows[here..here + elements],
            _ => &scratch.pixel,
        };
        let pixel = pixel.chunks_exact(T::LANES);
        accumulate::<T, S, OUT, V>(simd, &mut sums, pixel, &block.weights);
        for a in (0..=above.min(k - 1)).rev() {
            // this row's weights begin with its leftmost tap, which may lie outside the image
            let first = c + ((k - 1 - a) * k + (k - 1 - left)) * c;
            let start = ((row - a) * width + w - left) * elements;
            let count = if a == 0 { left } else { left + 1 };
            let operands = scratch.rows[start..start + count * elements].chunks_exact(T::LANES);
            let weights = &block.weights[first * OUT..];
            accumulate::<T, S, OUT, V>(simd, &mut sums, operands, weights);
        }
        let start = ((row * width + w) * c + block.first) * T::LANES;
        let out = &mut self.scratch.rows[start..start + OUT * T::LANES];
        for (out, sums) in out.chunks_exact_mut(T::LANES).zip(&sums) {
            store::<T, S, V>(out, sums);
        }
    }
}
