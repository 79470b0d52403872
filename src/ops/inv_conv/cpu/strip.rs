//! The solve of single images: strips of `LANES` rows, in which the pixels of an anti-diagonal are the lanes of a vector.
//!
//! A strip is stored by diagonals, `[diagonal][channel][row]`: the pixels of diagonal `t` lie side by side, and the operand
//! of the tap (a, b) is the vector that lies `a + b` diagonals earlier and `a` rows higher. So the sum over taps is the one
//! of the tiles, with other offsets, in the same order and to the same bits.
//!
//! The strips of an image form a pipeline: each one hands its last `k-1` rows to the next one, column by column, so that
//! several threads work on one image.
//!
//! Floor: `2 B H W C² k²` flops, of which `W / (W + LANES - 1)` of the lanes are used.

use super::filter::{for_block_size, Block};
use super::group::SolveGroup;
use super::microkernel::{accumulate, store, zeros};
use super::sizes::Sizes;
use crate::ops::vector::{arch, Real};
use pulp::{Simd, WithSimd};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Columns that are handed on at a time.
const HANDOVER: usize = 8;

/// Strips of one group of one image.
pub fn count<T: Real>(sizes: &Sizes) -> usize {
    sizes.height.div_ceil(T::LANES)
}

/// Whether strips can solve filters of this size: a strip sees no further than the one above it.
pub fn possible<T: Real>(sizes: &Sizes) -> bool {
    sizes.kernel - 1 <= T::LANES
}

/// Steps of a strip's sweep, each as much work as one pixel of a tile.
pub fn steps<T: Real>(sizes: &Sizes) -> usize {
    count::<T>(sizes) * (sizes.width + T::LANES.min(sizes.height) - 1)
}

/// What the strips of one group of one image hand to one another.
#[derive(Debug)]
pub struct Pipeline<T: Real> {
    /// `[strip][row of the last k-1][channel][column]`.
    rows: Vec<T::Cell>,
    /// Columns that each strip has handed over.
    columns: Vec<AtomicUsize>,
}

impl<T: Real> Pipeline<T> {
    /// Nothing handed over yet.
    pub fn new(sizes: &Sizes) -> Self {
        let joints = count::<T>(sizes) - 1;
        let rows = joints * (sizes.kernel - 1) * sizes.group_channels * sizes.width;
        Self {
            rows: (0..rows).map(|_| T::Cell::default()).collect(),
            columns: (0..joints).map(|_| AtomicUsize::new(0)).collect(),
        }
    }
}

/// Opens the way for the next strip when this one ends, also by a panic: nobody may wait for ever.
struct Release<'a>(Option<&'a AtomicUsize>);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if let Some(columns) = self.0 {
            columns.store(usize::MAX, Ordering::Release);
        }
    }
}

/// What a worker keeps from strip to strip.
#[derive(Debug)]
pub struct Scratch<T> {
    /// `[diagonal][channel][row]`, with `k-1` rows above and `2(k-1)` diagonals before those of the strip.
    diagonals: Vec<T>,
    /// The current diagonal of `y`, `[channel][lane]`.
    diagonal: Vec<T>,
}

impl<T: Real> Scratch<T> {
    /// For the strips of one call.
    pub fn new(sizes: &Sizes) -> Self {
        let pad = sizes.kernel - 1;
        let diagonals = 2 * pad + sizes.width + T::LANES - 1;
        Self {
            diagonals: vec![T::default(); diagonals * sizes.group_channels * (pad + T::LANES)],
            diagonal: vec![T::default(); sizes.group_channels * T::LANES],
        }
    }
}

/// One strip of one group of one image.
pub struct Strip<'a, T: Real> {
    /// Sizes of the call.
    pub sizes: &'a Sizes,
    /// The group's walk and coefficients.
    pub group: &'a SolveGroup<T>,
    /// Its neighbours.
    pub pipeline: &'a Pipeline<T>,
    /// Number of the strip in the walk.
    pub index: usize,
    /// The image, all channels.
    pub y: &'a [T],
    /// The strip's rows of the group's channels.
    pub x: Vec<&'a mut [T]>,
    /// Working memory.
    pub scratch: &'a mut Scratch<T>,
}

impl<T: Real> Strip<'_, T> {
    /// Solves the strip.
    pub fn solve(self) {
        let _release = Release(self.pipeline.columns.get(self.index));
        arch().dispatch(self);
    }
}

impl<T: Real> WithSimd for Strip<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match T::LANES / T::lanes::<S>() {
            1 => self.run::<S, 1>(simd),
            2 => self.run::<S, 2>(simd),
            4 => self.run::<S, 4>(simd),
            8 => self.run::<S, 8>(simd),
            _ => self.run::<S, 16>(simd),
        }
    }
}

impl<T: Real> Strip<'_, T> {
    /// Distance of two channels of a diagonal.
    #[inline(always)]
    fn pitch(&self) -> usize {
        self.sizes.kernel - 1 + T::LANES
    }

    /// Rows of this strip.
    #[inline(always)]
    fn rows(&self) -> usize {
        T::LANES.min(self.sizes.height - self.index * T::LANES)
    }

    /// Place of channel 0 of the pixel in column `w` of the strip's row `row - (k-1)`: row 0 is the first one handed over.
    #[inline(always)]
    fn place(&self, row: usize, w: usize) -> usize {
        let pad = self.sizes.kernel - 1;
        (w + row + pad) * self.sizes.group_channels * self.pitch() + row
    }

    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, simd: S) {
        self.load();
        let (width, rows) = (self.sizes.width, self.rows());
        let steps = width + rows - 1;
        let mut given = 0;
        for first in (0..steps).step_by(HANDOVER) {
            let end = (first + HANDOVER).min(steps);
            if self.index > 0 && first < width {
                self.take_over(first, end.min(width));
            }
            for t in first..end {
                self.diagonal::<S, V>(simd, t);
            }
            // row `rows - 1` is the last one to reach a column
            let finished = (end + 1).saturating_sub(rows).min(width);
            self.hand_over(given, finished);
            given = finished;
        }
        self.store();
    }

    /// Solves the pixels with `row + column = t`.
    #[inline(always)]
    fn diagonal<S: Simd, const V: usize>(&mut self, simd: S, t: usize) {
        let (pad, pitch) = (self.sizes.kernel - 1, self.pitch());
        let start = (t + 2 * pad) * self.sizes.group_channels * pitch + pad;
        let here = self.scratch.diagonals[start..].chunks(pitch);
        for (copy, y) in self.scratch.diagonal.chunks_exact_mut(T::LANES).zip(here) {
            copy.copy_from_slice(&y[..T::LANES]);
        }
        for block in &self.group.blocks {
            for_block_size!(block.size, OUT => self.block::<S, OUT, V>(simd, block, t));
        }
    }

    #[inline(always)]
    fn block<S: Simd, const OUT: usize, const V: usize>(
        &mut self,
        simd: S,
        block: &Block<T>,
        t: usize,
    ) {
        let (c, k, pitch) = (self.sizes.group_channels, self.sizes.kernel, self.pitch());
        let pad = k - 1;
        let mut sums = zeros::<T, S, OUT, V>(simd);
        let pixel = self.scratch.diagonal.chunks_exact(T::LANES);
        accumulate::<T, S, OUT, V>(simd, &mut sums, pixel, &block.weights);
        // rows above the image, and columns to the left of it for every lane, hold nothing but zeros
        let highest = pad.min(self.index * T::LANES + self.rows() - 1);
        for a in (0..=highest).rev() {
            for b in (usize::from(a == 0)..=pad.min(t)).rev() {
                let tap = c + ((pad - a) * k + pad - b) * c;
                let start = (t + 2 * pad - a - b) * c * pitch + pad - a;
                let operands = self.scratch.diagonals[start..].chunks(pitch).take(c);
                let weights = &block.weights[tap * OUT..];
                accumulate::<T, S, OUT, V>(simd, &mut sums, operands, weights);
            }
        }
        let start = ((t + 2 * pad) * c + block.first) * pitch + pad;
        let out = self.scratch.diagonals[start..].chunks_mut(pitch);
        for (out, sums) in out.zip(&sums) {
            store::<T, S, V>(out, sums);
        }
    }

    /// Brings the strip's rows of `y` in. Places outside the image are zero, and stay so.
    fn load(&mut self) {
        let (sizes, pad, pitch) = (self.sizes, self.sizes.kernel - 1, self.pitch());
        self.scratch.diagonals.fill(T::default());
        for channel in 0..sizes.group_channels {
            let plane = (self.group.first_channel + channel) * sizes.pixels();
            for r in 0..self.rows() {
                let row = self.group.walk.row(self.index * T::LANES + r, sizes.height);
                let y = &self.y[plane + row * sizes.width..][..sizes.width];
                let first = self.place(pad + r, 0) + channel * pitch;
                let step = sizes.group_channels * pitch;
                let places = self.scratch.diagonals[first..].iter_mut().step_by(step);
                if self.group.walk.mirror_columns {
                    places.zip(y.iter().rev()).for_each(|(at, y)| *at = *y);
                } else {
                    places.zip(y).for_each(|(at, y)| *at = *y);
                }
            }
        }
    }

    /// Takes the strip's rows out.
    fn store(&mut self) {
        let (sizes, pad, pitch) = (self.sizes, self.sizes.kernel - 1, self.pitch());
        let rows = self.rows();
        for channel in 0..sizes.group_channels {
            for r in 0..rows {
                let row = self.group.walk.row(r, rows);
                let first = self.place(pad + r, 0) + channel * pitch;
                let step = sizes.group_channels * pitch;
                let places = self.scratch.diagonals[first..].iter().step_by(step);
                let x = &mut self.x[channel][row * sizes.width..][..sizes.width];
                if self.group.walk.mirror_columns {
                    x.iter_mut().rev().zip(places).for_each(|(x, at)| *x = *at);
                } else {
                    x.iter_mut().zip(places).for_each(|(x, at)| *x = *at);
                }
            }
        }
    }

    /// Cells of channel `channel` of the `row`-th of the last `k-1` rows of strip `index`.
    fn cells(&self, index: usize, row: usize, channel: usize) -> &[T::Cell] {
        let (c, width) = (self.sizes.group_channels, self.sizes.width);
        let start = ((index * (self.sizes.kernel - 1) + row) * c + channel) * width;
        &self.pipeline.rows[start..start + width]
    }

    /// Waits for columns `first..end` of the rows above the strip, and brings them in.
    fn take_over(&mut self, first: usize, end: usize) {
        let above = &self.pipeline.columns[self.index - 1];
        while above.load(Ordering::Acquire) < end {
            std::hint::spin_loop();
        }
        let (c, pitch) = (self.sizes.group_channels, self.pitch());
        for row in 0..self.sizes.kernel - 1 {
            for channel in 0..c {
                for w in first..end {
                    let value = T::load(&self.cells(self.index - 1, row, channel)[w]);
                    let place = self.place(row, w) + channel * pitch;
                    self.scratch.diagonals[place] = value;
                }
            }
        }
    }

    /// Hands columns `first..end` of the last rows to the next strip, if there is one.
    fn hand_over(&self, first: usize, end: usize) {
        let Some(columns) = self.pipeline.columns.get(self.index) else {
            return;
        };
        let (c, pad, pitch) = (
            self.sizes.group_channels,
            self.sizes.kernel - 1,
            self.pitch(),
        );
        for row in 0..pad {
            for channel in 0..c {
                let cells = self.cells(self.index, row, channel);
                for (w, cell) in (first..end).zip(&cells[first..end]) {
                    let place = self.place(T::LANES + row, w) + channel * pitch;
                    self.scratch.diagonals[place].store(cell);
                }
            }
        }
        columns.store(end, Ordering::Release);
    }
}
