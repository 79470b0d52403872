//! The weight gradient: one correlation per tap, summed over pixels and images; neighbouring pixels are the lanes.
//!
//! Floor: `2 B H W C² k²` flops, of which `W / (W + k - 1)` of the lanes are used; `OUT x IN` sums in registers need
//! `OUT + IN` loads.

use super::jobs::run_jobs;
use super::planes::Layout;
use super::simd::{arch, zeros, Real};
use super::{Sizes, Walk};
use crate::ops::{Corner, Geometry};
use pulp::{Simd, WithSimd};

/// Partial sums that are kept apart; fixed, so that the order of the sum does not depend on the threads.
const PARTIALS: usize = 16;
/// Elements of the planes that are correlated at a time, at most, unless one row alone has more.
const WORKING_SET: usize = 64 * 1024;
/// Elements of one lane's sum in single precision, at most; sums of sums are in double precision.
const LANE_SUM: usize = 512;

/// `G = M * Σ u[o,h,w] x[i,h-a,w-b]`, the gradient of `<u, A(W) x>` with respect to `W`.
pub fn weight_grad<T: Real>(
    geometry: &Geometry,
    x: &[T],
    u: &[T],
    corners: &[Corner],
    grad: &mut [T],
) {
    let sizes = Sizes::new(geometry);
    let rows = band_rows::<T>(&sizes);
    let bands = sizes.height.div_ceil(rows);
    let units = sizes.batch * bands;
    let slots = units.min(PARTIALS);
    let mut partials = vec![0.0; slots * grad.len()];
    let jobs: Vec<_> = partials.chunks_mut(grad.len()).enumerate().collect();
    let scratch = || Scratch::<T>::new(&sizes, rows);
    run_jobs(jobs, scratch, |scratch, (slot, partial)| {
        let units = units * slot / slots..units * (slot + 1) / slots;
        for (group, &corner) in corners.iter().enumerate() {
            let mut rest = units.clone();
            while !rest.is_empty() {
                let now = rest.start..rest.end.min(rest.start + scratch.units);
                scratch.load(&sizes, bands, now.clone(), group, corner, x, u);
                arch().dispatch(Correlate {
                    sizes: &sizes,
                    corner,
                    units: now.len(),
                    scratch,
                    grad: &mut partial[group * sizes.group_weight()..][..sizes.group_weight()],
                });
                rest.start = now.end;
            }
        }
    });
    for (index, out) in grad.iter_mut().enumerate() {
        let partials = partials[index..].iter().step_by(sizes.channels * sizes.group_channels * sizes.kernel.pow(2));
        *out = T::from_f64(partials.sum());
    }
}

/// Elements of one row of a group's planes of `x` and `u`.
fn row_elements(sizes: &Sizes) -> usize {
    2 * sizes.group_channels * (sizes.width + sizes.kernel - 1)
}

/// Rows that are correlated at a time.
fn band_rows<T: Real>(sizes: &Sizes) -> usize {
    let fits = (WORKING_SET / row_elements(sizes)).saturating_sub(sizes.kernel - 1);
    let exact = LANE_SUM * T::LANES / (sizes.width + sizes.kernel - 1);
    fits.min(exact).max(4).min(sizes.height)
}

/// What a worker keeps from one piece of work to the next.
struct Scratch<T> {
    rows: usize,
    /// Bands that are correlated together.
    units: usize,
    /// `[unit][channel][line]`; the line's first element is at the same place in both.
    x: Vec<T>,
    u: Vec<T>,
    layout: Layout,
}

impl<T: Real> Scratch<T> {
    fn new(sizes: &Sizes, rows: usize) -> Self {
        let walk = Walk::new(Corner::TopLeft, false);
        let layout = Layout::new(sizes, rows, Some(walk));
        let fits = WORKING_SET * 2 / (row_elements(sizes) * (rows + sizes.kernel - 1));
        let exact = LANE_SUM * T::LANES / (rows * layout.pitch);
        let units = fits.min(exact).max(1);
        let len = units * sizes.group_channels * layout.plane;
        Self {
            rows,
            units,
            x: vec![T::default(); len],
            u: vec![T::default(); len],
            layout,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn load(
        &mut self,
        sizes: &Sizes,
        bands: usize,
        units: std::ops::Range<usize>,
        group: usize,
        corner: Corner,
        x: &[T],
        u: &[T],
    ) {
        let walk = Walk::new(corner, false);
        self.layout = Layout::new(sizes, self.rows, Some(walk));
        let bare = Layout::new(sizes, self.rows, None);
        let planes = sizes.group_channels * sizes.pixels();
        let len = sizes.group_channels * self.layout.plane;
        for (unit, (x_planes, u_planes)) in units.zip(
            self.x
                .chunks_exact_mut(len)
                .zip(self.u.chunks_exact_mut(sizes.group_channels * bare.plane)),
        ) {
            let start = unit / bands * sizes.image() + group * planes;
            let first = unit % bands * self.rows;
            let rows = self.rows.min(sizes.height - first);
            self.layout
                .load(sizes, &x[start..start + planes], first, rows, x_planes);
            bare.load(sizes, &u[start..start + planes], first, rows, u_planes);
        }
    }
}

/// Adds the correlation of some bands of one group to `grad`, `[C/g, C/g, k, k]`.
struct Correlate<'a, T> {
    sizes: &'a Sizes,
    corner: Corner,
    units: usize,
    scratch: &'a Scratch<T>,
    grad: &'a mut [f64],
}

impl<T: Real> WithSimd for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let k = self.sizes.kernel;
        for tap in 0..k * k {
            let tap = (tap / k, tap % k);
            if T::lanes::<S>() == T::LANES {
                self.tap::<S, 4, 6>(simd, tap); // 32 registers
            } else {
                self.tap::<S, 3, 4>(simd, tap); // 16 registers
            }
        }
    }
}

impl<T: Real> Correlate<'_, T> {
    /// All pairs of channels for one tap, in blocks; the rest in rows and columns.
    #[inline(always)]
    fn tap<S: Simd, const OUT: usize, const IN: usize>(&mut self, simd: S, tap: (usize, usize)) {
        let c = self.sizes.group_channels;
        let whole = c / OUT * OUT;
        for out in (0..whole).step_by(OUT) {
            self.inputs::<S, OUT, IN>(simd, tap, out);
        }
        for out in whole..c {
            self.inputs::<S, 1, IN>(simd, tap, out);
        }
    }

    #[inline(always)]
    fn inputs<S: Simd, const OUT: usize, const IN: usize>(
        &mut self,
        simd: S,
        tap: (usize, usize),
        out: usize,
    ) {
        // above the anchor's diagonal the gradient is zero by definition: those blocks are left out
        let inputs = if tap == (0, 0) {
            out + OUT
        } else {
            self.sizes.group_channels
        };
        let whole = inputs / IN * IN;
        for input in (0..whole).step_by(IN) {
            self.block::<S, OUT, IN>(simd, tap, out, input);
        }
        match inputs - whole {
            0 => {}
            1 => self.block::<S, OUT, 1>(simd, tap, out, whole),
            2 => self.block::<S, OUT, 2>(simd, tap, out, whole),
            3 => self.block::<S, OUT, 3>(simd, tap, out, whole),
            4 => self.block::<S, OUT, 4>(simd, tap, out, whole),
            _ => self.block::<S, OUT, 5>(simd, tap, out, whole),
        }
    }

    #[inline(always)]
    fn block<S: Simd, const OUT: usize, const IN: usize>(
        &mut self,
        simd: S,
        (a, b): (usize, usize),
        out: usize,
        input: usize,
    ) {
        let (c, k) = (self.sizes.group_channels, self.sizes.kernel);
        let layout = &self.scratch.layout;
        let bare = Layout::new(self.sizes, self.scratch.rows, None);
        let walk = Walk::new(self.corner, false);
        let x_start = layout.origin.wrapping_add_signed(layout.offset(walk, a, b));
        let mut sums = zeros::<T, S, OUT, IN>(simd);
        // u is zero between its rows, so whatever x has there does not count
        let len = (self.scratch.rows - 1) * layout.pitch + self.sizes.width;
        for unit in 0..self.units {
            let x = &self.scratch.x[(unit * c + input) * layout.plane + x_start..];
            let u = &self.scratch.u[(unit * c + out) * bare.plane + bare.origin..];
            let x: [&[T]; IN] = std::array::from_fn(|i| &x[i * layout.plane..]);
            let u: [&[T]; OUT] = std::array::from_fn(|o| &u[o * bare.plane..]);
            correlate::<T, S, OUT, IN>(simd, &mut sums, u, x, len);
        }
        let (row, column) = self.corner.tap_index(k as i64, a as i64, b as i64);
        let tap = row as usize * k + column as usize;
        for (o, sums) in sums.iter().enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                // entries of a diagonal block that lie above the anchor's diagonal stay exactly zero
                if (a, b) != (0, 0) || input + i <= out + o {
                    self.grad[((out + o) * c + input + i) * k * k + tap] +=
                        T::reduce::<S>(simd, *sum);
                }
            }
        }
    }
}

/// `sums[o][i] += u[o] * x[i]`, vector by vector over the first `len` elements.
#[inline(always)]
fn correlate<T: Real, S: Simd, const OUT: usize, const IN: usize>(
    simd: S,
    sums: &mut [[T::Vector<S>; IN]; OUT],
    u: [&[T]; OUT],
    x: [&[T]; IN],
    len: usize,
) {
    let mut local = *sums;
    let count = len.div_ceil(T::lanes::<S>());
    let u = u.map(|u| &T::vectors::<S>(u)[..count]);
    let x = x.map(|x| &T::vectors::<S>(x)[..count]);
    for at in 0..count {
        let x: [T::Vector<S>; IN] = std::array::from_fn(|i| x[i][at]);
        for o in 0..OUT {
            let u = u[o][at];
            for i in 0..IN {
                local[o][i] = T::mul_add(simd, u, x[i], local[o][i]);
            }
        }
    }
    *sums = local;
}
