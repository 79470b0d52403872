//! The correlation of many small images: images are the lanes, and taps that reach out of the image cost nothing.
//!
//! Floor: `2 B H W C² k²` flops less those of the taps that fall outside. `OUT x IN` sums stay in registers: `OUT + IN`
//! aligned loads for as many multiply-adds as sums.

use super::sums::LANE_SUM;
use crate::ops::inv_conv::cpu::lanes::Rows;
use crate::ops::inv_conv::cpu::microkernel::zeros;
use crate::ops::inv_conv::cpu::sizes::Sizes;
use crate::ops::inv_conv::cpu::walk::Walk;
use crate::ops::vector::transpose::Square;
use crate::ops::vector::Real;
use crate::problem::Corner;
use pulp::{Simd, WithSimd};

/// Elements of an image, at most: two tiles of them then fit into the second-level cache.
const LARGEST_IMAGE: usize = 6 * 1024;

/// Whether tiles of images are correlated sooner than lines of pixels, by the vectors that each has to go through.
pub fn pays<T: Real>(sizes: &Sizes) -> bool {
    let reached = |size: usize| {
        (0..sizes.kernel)
            .map(|tap| size.saturating_sub(tap))
            .sum::<usize>()
    };
    let tiles = sizes.batch.div_ceil(T::LANES) * reached(sizes.height) * reached(sizes.width);
    let line = sizes.height * (sizes.width + sizes.kernel - 1);
    let lines = sizes.batch * line.div_ceil(T::LANES) * sizes.kernel.pow(2);
    sizes.group_channels * sizes.pixels() <= LARGEST_IMAGE && tiles <= lines
}

/// What a worker keeps from tile to tile.
#[derive(Debug)]
pub struct Scratch<T> {
    /// `[pixel][channel][lane]`, with room to begin on a cache line.
    x: Vec<T>,
    u: Vec<T>,
    block: Square<T>,
    /// Where the pixels of `u` and `x` are that a tap brings together.
    places: Vec<(usize, usize)>,
}

impl<T: Real> Scratch<T> {
    /// For the tiles of one call.
    pub fn new(sizes: &Sizes) -> Self {
        let len = (sizes.group_channels * sizes.pixels() + 1) * T::LANES;
        Self {
            x: vec![T::default(); len],
            u: vec![T::default(); len],
            block: Square::new(),
            places: Vec::new(),
        }
    }
}

/// Adds the correlation of one group of up to `LANES` images to `grad`, `[C/g, C/g, k, k]`.
pub struct CorrelateTiles<'a, T> {
    /// Sizes of the call.
    pub sizes: &'a Sizes,
    /// The group's corner and number.
    pub corner: Corner,
    pub group: usize,
    /// The images, all channels.
    pub x: &'a [T],
    pub u: &'a [T],
    /// Working memory.
    pub scratch: &'a mut Scratch<T>,
    /// The sums so far.
    pub grad: &'a mut [f64],
}

impl<T: Real> WithSimd for CorrelateTiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match T::LANES / T::lanes::<S>() {
            1 => self.run::<S, 1, 4, 4>(simd), // 4 x 4 sums and 8 operands in 32 registers
            2 => self.run::<S, 2, 4, 3>(simd), // 4 x 3 sums and 4 operands in 16 registers
            4 => self.run::<S, 4, 4, 3>(simd),
            8 => self.run::<S, 8, 4, 3>(simd),
            _ => self.run::<S, 16, 4, 3>(simd),
        }
    }
}

impl<T: Real> CorrelateTiles<'_, T> {
    #[inline(always)]
    fn run<S: Simd, const V: usize, const OUT: usize, const IN: usize>(mut self, simd: S) {
        let (sizes, k) = (self.sizes, self.sizes.kernel);
        let rows = Rows {
            sizes,
            first_channel: self.group * sizes.group_channels,
            walk: Walk::new(self.corner, false),
            first: 0,
            count: sizes.height,
        };
        let Scratch { x, u, block, .. } = &mut *self.scratch;
        let (x_start, u_start) = (aligned(x), aligned(u));
        rows.load::<T, S, V>(simd, self.x, block, &mut x[x_start..]);
        rows.load::<T, S, V>(simd, self.u, block, &mut u[u_start..]);
        let pixel = sizes.group_channels * T::LANES;
        for tap in 0..k * k {
            let (a, b) = (tap / k, tap % k);
            let places = &mut self.scratch.places;
            places.clear();
            for h in a..sizes.height {
                let (u_row, x_row) = (h * sizes.width, (h - a) * sizes.width);
                places.extend((b..sizes.width).map(|w| {
                    let (u, x) = ((u_row + w) * pixel, (x_row + w - b) * pixel);
                    (u_start + u, x_start + x)
                }));
            }
            self.outputs::<S, V, OUT, IN>(simd, (a, b));
        }
    }

    #[inline(always)]
    fn outputs<S: Simd, const V: usize, const OUT: usize, const IN: usize>(
        &mut self,
        simd: S,
        tap: (usize, usize),
    ) {
        let c = self.sizes.group_channels;
        let whole = c / OUT * OUT;
        for out in (0..whole).step_by(OUT) {
            self.inputs::<S, V, OUT, IN>(simd, tap, out);
        }
        for out in whole..c {
            self.inputs::<S, V, 1, IN>(simd, tap, out);
        }
    }

    #[inline(always)]
    fn inputs<S: Simd, const V: usize, const OUT: usize, const IN: usize>(
        &mut self,
        simd: S,
        tap: (usize, usize),
        out: usize,
    ) {
        // above the anchor's diagonal the gradient is zero by definition
        let inputs = match tap {
            (0, 0) => out + OUT,
            _ => self.sizes.group_channels,
        };
        // at most IN at a time, as equal as possible: 4 are 2 and 2 where IN is 3
        let blocks = inputs.div_ceil(IN);
        for block in 0..blocks {
            let input = inputs * block / blocks;
            match inputs * (block + 1) / blocks - input {
                1 => self.block::<S, V, OUT, 1>(simd, tap, out, input),
                2 => self.block::<S, V, OUT, 2>(simd, tap, out, input),
                3 => self.block::<S, V, OUT, 3>(simd, tap, out, input),
                _ => self.block::<S, V, OUT, 4>(simd, tap, out, input),
            }
        }
    }

    #[inline(always)]
    fn block<S: Simd, const V: usize, const OUT: usize, const IN: usize>(
        &mut self,
        simd: S,
        (a, b): (usize, usize),
        out: usize,
        input: usize,
    ) {
        let (c, k) = (self.sizes.group_channels, self.sizes.kernel);
        let (row, column) = self.corner.tap_index(k as i64, a as i64, b as i64);
        let tap = row as usize * k + column as usize;
        let x = &self.scratch.x[input * T::LANES..];
        let u = &self.scratch.u[out * T::LANES..];
        for places in self.scratch.places.chunks(LANE_SUM / V) {
            let sums = correlate::<T, S, V, OUT, IN>(simd, places, u, x);
            for (o, sums) in sums.iter().enumerate() {
                for (i, sum) in sums.iter().enumerate() {
                    // entries above the anchor's diagonal stay exactly zero
                    if (a, b) != (0, 0) || input + i <= out + o {
                        self.grad[((out + o) * c + input + i) * k * k + tap] +=
                            T::reduce::<S>(simd, *sum);
                    }
                }
            }
        }
    }
}

/// Elements to leave out so that `buffer` begins on a cache line.
fn aligned<T: Real>(buffer: &[T]) -> usize {
    buffer.as_ptr().align_offset(64).min(T::LANES)
}

/// `Σ u[o] x[i]` over all places, the `V` vectors of a tile's lanes one after the other into the same sums.
#[inline(always)]
fn correlate<T: Real, S: Simd, const V: usize, const OUT: usize, const IN: usize>(
    simd: S,
    places: &[(usize, usize)],
    u: &[T],
    x: &[T],
) -> [[T::Vector<S>; IN]; OUT] {
    let mut sums = zeros::<T, S, OUT, IN>(simd);
    for &(u_place, x_place) in places {
        // one comparison for each, and then nothing can go wrong: the sums stay in registers
        let u = &T::vectors::<S>(&u[u_place..u_place + OUT * T::LANES])[..OUT * V];
        let x = &T::vectors::<S>(&x[x_place..x_place + IN * T::LANES])[..IN * V];
        for part in 0..V {
            for o in 0..OUT {
                let u = u[o * V + part];
                for i in 0..IN {
                    sums[o][i] = T::mul_add(simd, u, x[i * V + part], sums[o][i]);
                }
            }
        }
    }
    sums
}
