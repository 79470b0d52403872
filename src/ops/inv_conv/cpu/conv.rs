//! The convolution: neighbouring pixels are the lanes, several outputs and vectors stay in registers.
//!
//! Floor: `2 B H W C² k²` flops, of which `W / (W + k - 1)` of the lanes are used; images are read and written once.

use super::bands::{bands, Band};
use super::filter::{for_block_size, Block, Filter};
use super::microkernel::{accumulate, store, zeros};
use super::planes::{copy_row, PlaneLayout};
use super::sizes::{group_weight, Sizes};
use super::walk::Walk;
use crate::ops::vector::jobs::{run_jobs, threads};
use crate::ops::vector::{arch, Real};
use crate::problem::{Corner, Geometry};
use pulp::{Simd, WithSimd};

/// Elements of a band's input planes, at most, unless one row alone has more.
const WORKING_SET: usize = 64 * 1024;

/// Elements of the most vectors that are computed together.
const SLACK: usize = 6 * 16;

/// `y = A(W) x`, or `A(W)ᵀ x`.
pub fn conv<T: Real>(
    geometry: &Geometry,
    x: &[T],
    weight: &[T],
    corners: &[Corner],
    adjoint: bool,
    y: &mut [T],
) {
    let sizes = Sizes::new(geometry);
    let taps = (0..sizes.kernel).flat_map(|a| (0..sizes.kernel).map(move |b| (a, b)));
    let rows = band_rows(&sizes, corners.len());
    let most = arch().dispatch(ConvBlockSize::<T>::default());
    let groups: Vec<_> = corners
        .iter()
        .enumerate()
        .map(|(group, &corner)| {
            let filter = Filter::new(&sizes, group_weight(&sizes, weight, group), corner, adjoint);
            let walk = Walk::new(corner, adjoint);
            ConvGroup {
                walk,
                layout: PlaneLayout::new(&sizes, rows, Some(walk), SLACK),
                blocks: filter.pack(most, taps.clone()),
            }
        })
        .collect();
    let out = PlaneLayout::new(&sizes, rows, None, SLACK);
    let scratch = || Scratch {
        input: vec![T::default(); groups[0].layout.plane * sizes.group_channels],
        output: vec![T::default(); out.plane * 16],
    };
    run_jobs(
        bands(&sizes, rows, |_| false, y),
        scratch,
        |scratch, band| {
            let group = &groups[band.group];
            let planes = sizes.group_channels * sizes.pixels();
            let x = &x[band.image * sizes.image() + band.group * planes..][..planes];
            let rows_here = band.planes[0].len() / sizes.width;
            let first = band.index * rows;
            group
                .layout
                .load(&sizes, x, first, rows_here, &mut scratch.input);
            arch().dispatch(ConvBand {
                sizes: &sizes,
                group,
                out,
                rows: rows_here,
                band,
                scratch,
            });
        },
    );
}

/// Rows of a band: as many as the cache holds, and few enough that every thread gets some.
fn band_rows(sizes: &Sizes, groups: usize) -> usize {
    let row = (sizes.width + sizes.kernel - 1) * sizes.group_channels;
    let fits = (WORKING_SET / row).saturating_sub(sizes.kernel - 1).max(4);
    let shares = (2 * threads()).div_ceil(sizes.batch * groups);
    fits.min(sizes.height.div_ceil(shares))
        .clamp(1, sizes.height)
}

struct ConvGroup<T> {
    walk: Walk,
    layout: PlaneLayout,
    blocks: Vec<Block<T>>,
}

struct Scratch<T> {
    input: Vec<T>,
    output: Vec<T>,
}

/// Outputs of a block: each of them has several vectors of sums.
#[derive(Default)]
struct ConvBlockSize<T>(std::marker::PhantomData<T>);

impl<T: Real> WithSimd for ConvBlockSize<T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        match T::LANES / T::lanes::<S>() {
            1 => 12,
            2 => 6,
            _ => 4,
        }
    }
}

/// Vectors of sums for each of `out` outputs on a machine with `registers`, some of which hold operands and weights.
const fn vectors_for(registers: usize, out: usize) -> usize {
    let most = (registers - registers / 4) / out;
    match most {
        0 => 1,
        1..=6 => most,
        _ => 6,
    }
}

struct ConvBand<'a, T> {
    sizes: &'a Sizes,
    group: &'a ConvGroup<T>,
    out: PlaneLayout,
    rows: usize,
    band: Band<'a, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> WithSimd for ConvBand<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let group = self.group;
        for block in &group.blocks {
            for_block_size!(block.size, OUT => if T::lanes::<S>() == T::LANES {
                self.block::<S, OUT, { vectors_for(32, OUT) }>(simd, block)
            } else {
                self.block::<S, OUT, { vectors_for(16, OUT) }>(simd, block)
            });
            self.store(block);
        }
    }
}

impl<T: Real> ConvBand<'_, T> {
    #[inline(always)]
    fn block<S: Simd, const OUT: usize, const V: usize>(&mut self, simd: S, block: &Block<T>) {
        let (c, k) = (self.sizes.group_channels, self.sizes.kernel);
        let layout = &self.group.layout;
        let end = (self.rows - 1) * layout.pitch + self.sizes.width;
        for at in (0..end).step_by(V * T::lanes::<S>()) {
            let mut sums = zeros::<T, S, OUT, V>(simd);
            for a in 0..k {
                for b in 0..k {
                    let offset = layout.offset(self.group.walk, a, b);
                    let start = (layout.origin + at).wrapping_add_signed(offset);
                    let operands = self.scratch.input[start..].chunks(layout.plane).take(c);
                    let weights = &block.weights[(a * k + b) * c * OUT..];
                    accumulate::<T, S, OUT, V>(simd, &mut sums, operands, weights);
                }
            }
            let lines = self.scratch.output.chunks_exact_mut(self.out.plane);
            for (line, sums) in lines.zip(&sums) {
                store::<T, S, V>(&mut line[at..], sums);
            }
        }
    }

    /// Takes the rows of a block's outputs out of the lines.
    fn store(&mut self, block: &Block<T>) {
        let lines = self.scratch.output.chunks_exact(self.out.plane);
        let planes = &mut self.band.planes[block.first..block.first + block.size];
        for (plane, line) in planes.iter_mut().zip(lines) {
            let rows = plane.chunks_exact_mut(self.sizes.width);
            for (row, line) in rows.zip(line.chunks(self.out.pitch)) {
                copy_row(row, &line[..self.sizes.width]);
            }
        }
    }
}
