//! The weight gradient: one correlation per tap, summed over pixels and images.
//!
//! Floor: `2 B H W C² k²` flops, as the sweep; both tiles are read once per tap and per pair of channel blocks.

use super::tile::Tile;
use super::{mul_add, Lanes, Real, Sizes, Walk};
use crate::ffi::memory::parallel_chunks;
use crate::ops::{Corner, Geometry};
use pulp::{Arch, Simd, WithSimd};

/// Partial sums that are kept apart; fixed, so that the order of the sum does not depend on the threads.
const PARTIALS: usize = 16;
/// Pixels after which the running sums of a lane move on to double precision.
const FLUSH: usize = 1024;
/// Channels per block, on both sides.
const BLOCK: usize = 4;

/// `G = M * Σ u[o,h,w] x[i,h-a,w-b]`, the gradient of `<u, A(W) x>` with respect to `W`.
pub fn weight_grad<T: Real>(
    geometry: &Geometry,
    x: &[T],
    u: &[T],
    corners: &[Corner],
    grad: &mut [T],
) {
    let sizes = Sizes::new(geometry);
    let partials = match Lanes::for_batch(sizes.batch) {
        Lanes::One => partial_sums::<T, 1>(&sizes, x, u, corners),
        Lanes::Four => partial_sums::<T, 4>(&sizes, x, u, corners),
        Lanes::Full if T::LANES == 16 => partial_sums::<T, 16>(&sizes, x, u, corners),
        Lanes::Full => partial_sums::<T, 8>(&sizes, x, u, corners),
    };
    for (index, out) in grad.iter_mut().enumerate() {
        let total: f64 = partials
            .chunks_exact(sizes.channels * sizes.group_channels * sizes.kernel.pow(2))
            .map(|p| p[index])
            .sum();
        *out = T::from_f64(total);
    }
}

/// One weight-sized sum per slot of tiles, `[slot][C, C/g, k, k]`.
fn partial_sums<T: Real, const L: usize>(
    sizes: &Sizes,
    x: &[T],
    u: &[T],
    corners: &[Corner],
) -> Vec<f64> {
    let tile_len = L * sizes.image();
    let tiles = sizes.batch.div_ceil(L);
    let slots = tiles.min(PARTIALS);
    let weight_len = sizes.group_weight() * corners.len();
    let mut partials = vec![0.0; slots * weight_len];
    let arch = Arch::new();
    parallel_chunks(&mut partials, weight_len, |slot, partial| {
        for tile in (slot..tiles).step_by(slots) {
            let images = tile * tile_len..((tile + 1) * tile_len).min(x.len());
            for (group, &corner) in corners.iter().enumerate() {
                let walk = Walk::new(corner, false);
                let first_channel = group * sizes.group_channels;
                let mut x_tile = Tile::<T, L>::new(sizes, sizes.kernel - 1);
                let mut u_tile = Tile::<T, L>::new(sizes, 0);
                x_tile.load(sizes, &x[images.clone()], first_channel, walk);
                u_tile.load(sizes, &u[images.clone()], first_channel, walk);
                let grad = &mut partial[group * sizes.group_weight()..][..sizes.group_weight()];
                arch.dispatch(Correlate {
                    sizes,
                    corner,
                    x: &x_tile,
                    u: &u_tile,
                    grad,
                });
            }
        }
    });
    partials
}

/// Adds the correlation of one tile and group to `grad`, `[C/g, C/g, k, k]`.
struct Correlate<'a, T, const L: usize> {
    sizes: &'a Sizes,
    corner: Corner,
    x: &'a Tile<T, L>,
    u: &'a Tile<T, L>,
    grad: &'a mut [f64],
}

impl<T: Real, const L: usize> WithSimd for Correlate<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        if S::IS_SCALAR {
            self.run::<false>();
        } else {
            self.run::<true>();
        }
    }
}

impl<T: Real, const L: usize> Correlate<'_, T, L> {
    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let k = self.sizes.kernel;
        for a in 0..k {
            for b in 0..k {
                self.tap::<FMA>(a, b);
            }
        }
    }

    /// All pairs of channels for the tap with offset (`a`, `b`), in blocks; the rest one by one.
    #[inline(always)]
    fn tap<const FMA: bool>(&mut self, a: usize, b: usize) {
        let c = self.sizes.group_channels;
        let whole = c / BLOCK * BLOCK;
        // above the anchor's diagonal the gradient is zero by definition: those blocks are left out
        let last_input = |outs_end: usize| if a == 0 && b == 0 { outs_end } else { c };
        for out in (0..whole).step_by(BLOCK) {
            let inputs = last_input(out + BLOCK);
            for input in (0..inputs / BLOCK * BLOCK).step_by(BLOCK) {
                self.block::<FMA, BLOCK, BLOCK>((a, b), out, input);
            }
            for input in inputs / BLOCK * BLOCK..inputs {
                self.block::<FMA, BLOCK, 1>((a, b), out, input);
            }
        }
        for out in whole..c {
            let inputs = last_input(out + 1);
            for input in (0..inputs / BLOCK * BLOCK).step_by(BLOCK) {
                self.block::<FMA, 1, BLOCK>((a, b), out, input);
            }
            for input in inputs / BLOCK * BLOCK..inputs {
                self.block::<FMA, 1, 1>((a, b), out, input);
            }
        }
    }

    #[inline(always)]
    fn block<const FMA: bool, const OB: usize, const IB: usize>(
        &mut self,
        (a, b): (usize, usize),
        out: usize,
        input: usize,
    ) {
        let (c, k, width) = (
            self.sizes.group_channels,
            self.sizes.kernel,
            self.sizes.width,
        );
        let (tap_row, tap_column) = self.corner.tap_index(k as i64, a as i64, b as i64);
        let tap = tap_row as usize * k + tap_column as usize;
        let rows_per_flush = (FLUSH / width.max(1)).max(1);
        for first_row in (0..self.sizes.height).step_by(rows_per_flush) {
            let mut sums = [[[T::default(); L]; IB]; OB];
            for row in first_row..(first_row + rows_per_flush).min(self.sizes.height) {
                let u = self.u.span(row, 0, 0, width);
                let x = self.x.span(row, a, k - 1 - b, width);
                for (u, x) in u.chunks_exact(c * L).zip(x.chunks_exact(c * L)) {
                    outer_product::<T, FMA, OB, IB, L>(&mut sums, &u[out * L..], &x[input * L..]);
                }
            }
            for (o, sums) in sums.iter().enumerate() {
                for (i, lanes) in sums.iter().enumerate() {
                    // entries of a diagonal block that lie above the anchor's diagonal stay exactly zero
                    if (a, b) != (0, 0) || input + i <= out + o {
                        let total: f64 = lanes.iter().map(|lane| lane.to_f64()).sum();
                        self.grad[((out + o) * c + input + i) * k * k + tap] += total;
                    }
                }
            }
        }
    }
}

/// `sums[o][i] += u[o] * x[i]`, lane by lane.
#[inline(always)]
fn outer_product<T: Real, const FMA: bool, const OB: usize, const IB: usize, const L: usize>(
    sums: &mut [[[T; L]; IB]; OB],
    u: &[T],
    x: &[T],
) {
    let (u, x) = (&u.as_chunks::<L>().0[..OB], &x.as_chunks::<L>().0[..IB]);
    for o in 0..OB {
        for i in 0..IB {
            for l in 0..L {
                sums[o][i][l] = mul_add::<T, FMA>(u[o][l], x[i][l], sums[o][i][l]);
            }
        }
    }
}
