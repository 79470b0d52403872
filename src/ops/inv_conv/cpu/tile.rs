//! The solve of many images at once: up to `LANES` images, transposed so that images are the lanes of a vector.
//!
//! No dependency of the recursion crosses a lane, so every pixel is a matrix-vector product at full width, whatever the
//! shape of the image. Large images are solved in bands of rows, so that the working set stays in the second-level cache.
//!
//! Floor: `2 B H W C² k²` flops less the taps that fall outside; images are read and written once.

use super::filter::{for_block_size, Block};
use super::group::SolveGroup;
use super::lanes::Rows;
use super::microkernel::{accumulate, store, vectors, zeros};
use super::sizes::Sizes;
use super::spectral::{damped, Spectrum};
use crate::ops::vector::transpose::Square;
use crate::ops::vector::{arch, Real};
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
    /// `[segment][component][row, modulo k-1][channel][lane]`.
    spectra: Vec<T>,
    /// Products of spectra, `[component][channel][lane]`.
    products: Vec<T>,
    /// What the rows above add to the current one, `[column][channel][lane]`.
    above: Vec<T>,
}

impl<T: Real> Scratch<T> {
    /// For the tiles of one call.
    pub fn new(sizes: &Sizes, spectrum: Option<&Spectrum<T>>) -> Self {
        let vectors = |count: usize| vec![T::default(); count * sizes.group_channels * T::LANES];
        let segments = spectrum.map_or(0, |s| sizes.width.div_ceil(s.segment));
        let components = spectrum.map_or(0, |s| s.components);
        let row = sizes.width * sizes.group_channels * T::LANES;
        let halo = (sizes.kernel - 1).min(sizes.height);
        let band = (WORKING_SET / row)
            .saturating_sub(halo)
            .clamp(8, sizes.height.max(8));
        let band = band.min(sizes.height);
        Self {
            rows: vec![T::default(); (halo + band) * row],
            pixel: vectors(1),
            block: Square::new(),
            band,
            spectra: vectors(segments * (sizes.kernel - 1) * components),
            products: vectors(components),
            above: vectors(segments.min(1) * sizes.width),
        }
    }
}

/// Solves the images of one tile, `[n][C][H][W]`, for all groups.
pub fn solve_tile<T: Real>(
    sizes: &Sizes,
    groups: &[SolveGroup<T>],
    scratch: &mut Scratch<T>,
    y: &[T],
    x: &mut [T],
) {
    for group in groups {
        let spectra = [group.spectrum.as_ref(), None];
        // by spectra first, and again without where they were not exact enough
        for spectrum in &spectra[usize::from(group.spectrum.is_none())..] {
            arch().dispatch(SolveTile {
                sizes,
                group,
                spectrum: *spectrum,
                scratch: &mut *scratch,
                y,
                x: &mut *x,
            });
            if spectrum.is_none() || damped(planes(sizes, group, y), planes(sizes, group, x)) {
                break;
            }
        }
    }
}

/// The group's planes of every image.
fn planes<'a, T>(
    sizes: &Sizes,
    group: &SolveGroup<T>,
    images: &'a [T],
) -> impl Iterator<Item = &'a [T]> {
    let first = group.first_channel * sizes.pixels();
    let planes = first..first + sizes.group_channels * sizes.pixels();
    let images = images.chunks_exact(sizes.image());
    images.map(move |image| &image[planes.clone()])
}

struct SolveTile<'a, T> {
    sizes: &'a Sizes,
    group: &'a SolveGroup<T>,
    spectrum: Option<&'a Spectrum<T>>,
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
                let above = (first + h).min(halo);
                if let Some(spectrum) = self.spectrum {
                    self.add_above::<S, V>(simd, spectrum, first + h, above);
                }
                for w in 0..width {
                    self.pixel::<S, V>(simd, halo + h, w, above);
                }
                if let Some(spectrum) = self.spectrum.filter(|_| first + h + 1 < height) {
                    self.transform_row::<S, V>(simd, spectrum, halo + h, first + h);
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
        // by spectra the rows above are there already
        let above = match self.spectrum {
            None => above.min(k - 1),
            Some(_) => {
                let start = (w * c + block.first) * T::LANES;
                let rows = scratch.above[start..].chunks_exact(T::LANES);
                for (sums, above) in sums.iter_mut().zip(rows) {
                    *sums = *vectors::<T, S, V>(above);
                }
                0
            }
        };
        // no closure here: the compiler would not compile it for the instruction set
        let here = (row * width + w) * elements;
        let pixel = match self.group.blocks.len() {
            1 => &scratch.rows[here..here + elements],
            _ => &scratch.pixel,
        };
        let pixel = pixel.chunks_exact(T::LANES);
        accumulate::<T, S, OUT, V>(simd, &mut sums, pixel, &block.weights);
        for a in (0..=above).rev() {
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

    /// Adds up what the `above` rows above row `h` contribute, by their spectra.
    #[inline(always)]
    fn add_above<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        spectrum: &Spectrum<T>,
        h: usize,
        above: usize,
    ) {
        let (c, ring) = (self.sizes.group_channels, self.sizes.kernel - 1);
        let vectors = c * T::LANES;
        for (number, columns) in spectrum.segments(self.sizes.width).enumerate() {
            for component in 0..spectrum.components {
                for block in &spectrum.filter[component] {
                    for_block_size!(block.size, OUT => {
                        let mut sums = zeros::<T, S, OUT, V>(simd);
                        // from the farthest row to the nearest: to the end of the ring, then from its start
                        let slot = (h - above) % ring;
                        let first = above.min(ring - slot);
                        let ring_start = (number * spectrum.components + component) * ring;
                        for (slot, count, done) in [(slot, first, 0), (0, above - first, first)] {
                            let start = (ring_start + slot) * vectors;
                            let rows = &self.scratch.spectra[start..start + count * vectors];
                            let weights = &block.weights[(ring - above + done) * c * OUT..];
                            let operands = rows.chunks_exact(T::LANES);
                            accumulate::<T, S, OUT, V>(simd, &mut sums, operands, weights);
                        }
                        let start = (component * c + block.first) * T::LANES;
                        let out = self.scratch.products[start..].chunks_exact_mut(T::LANES);
                        for (out, sums) in out.zip(&sums) {
                            store::<T, S, V>(out, sums);
                        }
                    });
                }
            }
            for block in &spectrum.output {
                for_block_size!(block.size, OUT => for o in 0..c {
                    let mut sums = zeros::<T, S, OUT, V>(simd);
                    let operands = self.scratch.products[o * T::LANES..].chunks(vectors);
                    accumulate::<T, S, OUT, V>(simd, &mut sums, operands, &block.weights);
                    let first = columns.start + block.first;
                    let start = (first * c + o) * T::LANES;
                    // the last segment may be cut short
                    let here = columns.end.saturating_sub(first);
                    let above = &mut self.scratch.above;
                    let out = above.get_mut(start..).unwrap_or_default().chunks_mut(vectors);
                    for (out, sums) in out.zip(&sums).take(here) {
                        store::<T, S, V>(out, sums);
                    }
                });
            }
        }
    }

    /// Transforms the row that stands in the buffer's row `row`, row `h` of the image.
    #[inline(always)]
    fn transform_row<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        spectrum: &Spectrum<T>,
        row: usize,
        h: usize,
    ) {
        let (c, ring) = (self.sizes.group_channels, self.sizes.kernel - 1);
        let vectors = c * T::LANES;
        for (number, columns) in spectrum.segments(self.sizes.width).enumerate() {
            // columns to the left of the image are zero, and have no part in the sum
            let first = columns.start.saturating_sub(spectrum.left);
            let skipped = spectrum.left - (columns.start - first);
            let start = (row * self.sizes.width + first) * vectors;
            let end = (row * self.sizes.width + columns.end) * vectors;
            let to = (number * spectrum.components * ring + h % ring) * vectors;
            for block in &spectrum.input {
                for_block_size!(block.size, OUT => for i in 0..c {
                    let mut sums = zeros::<T, S, OUT, V>(simd);
                    let pixels = &self.scratch.rows[start + i * T::LANES..end];
                    let weights = &block.weights[skipped * OUT..];
                    accumulate::<T, S, OUT, V>(simd, &mut sums, pixels.chunks(vectors), weights);
                    let at = to + block.first * ring * vectors + i * T::LANES;
                    let out = self.scratch.spectra[at..].chunks_mut(ring * vectors);
                    for (out, sums) in out.zip(&sums) {
                        store::<T, S, V>(out, sums);
                    }
                });
            }
        }
    }
}
