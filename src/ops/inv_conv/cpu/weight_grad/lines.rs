//! The correlation of large images, or of few: neighbouring pixels are the lanes.
//!
//! Floor: `2 B H W C² k²` flops, of which `W / (W + k - 1)` of the lanes are used. The sums of `OUT` outputs,
//! `IN` inputs and `TAPS` neighbouring taps stay in registers: `OUT + IN TAPS` loads for `OUT IN TAPS` multiply-adds, from
//! `OUT + IN` lines of memory.

use super::sums::LANE_SUM;
use crate::ops::inv_conv::cpu::microkernel::{vectors, zeros};
use crate::ops::inv_conv::cpu::planes::PlaneLayout;
use crate::ops::inv_conv::cpu::sizes::Sizes;
use crate::ops::inv_conv::cpu::walk::Walk;
use crate::ops::vector::Real;
use crate::problem::Corner;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Elements of the planes that are correlated at a time, at most, unless a few rows alone have more.
const WORKING_SET: usize = 128 * 1024;

/// How the images are cut up.
#[derive(Debug)]
pub struct LinesPlan {
    /// Rows of a band, and bands of an image.
    rows: usize,
    bands: usize,
    /// Bands that are correlated together.
    units: usize,
}

impl LinesPlan {
    /// As large as the cache and the precision of a lane's sum allow.
    pub fn new<T: Real>(sizes: &Sizes) -> Self {
        let pitch = sizes.width + sizes.kernel - 1;
        let row = 2 * sizes.group_channels * pitch;
        let fits = (WORKING_SET / 2 / row).saturating_sub(sizes.kernel - 1);
        let exact = LANE_SUM * T::LANES / pitch;
        let rows = fits.min(exact).max(4).min(sizes.height);
        let fits = WORKING_SET / (row * (rows + sizes.kernel - 1));
        let exact = LANE_SUM * T::LANES / (rows * pitch);
        Self {
            rows,
            bands: sizes.height.div_ceil(rows),
            units: fits.min(exact).max(1),
        }
    }

    /// Pieces of work: bands that are correlated together.
    pub fn pieces(&self, sizes: &Sizes) -> usize {
        (sizes.batch * self.bands).div_ceil(self.units)
    }
}

/// What a worker keeps from one piece of work to the next.
#[derive(Debug)]
pub struct Scratch<T> {
    rows: usize,
    /// `[unit][channel][line]`; rows of `u` lie where the same rows of `x` do.
    x: Vec<T>,
    u: Vec<T>,
    /// Elements before the first line of `u`: so many that its vectors lie on cache lines.
    u_start: usize,
    layout: PlaneLayout,
    /// Where the vectors begin that are correlated.
    places: Vec<usize>,
}

impl<T: Real> Scratch<T> {
    /// For the pieces of one call.
    pub fn new(sizes: &Sizes, plan: &LinesPlan) -> Self {
        let walk = Walk::new(Corner::TopLeft, false);
        let layout = PlaneLayout::new(sizes, plan.rows, Some(walk), T::LANES);
        let len = plan.units * sizes.group_channels * layout.plane;
        Self {
            rows: plan.rows,
            x: vec![T::default(); len],
            u: vec![T::default(); len + T::LANES],
            u_start: 0,
            layout,
            places: Vec::new(),
        }
    }

    /// Brings the bands of piece `index` of one group in; returns their number.
    #[allow(clippy::too_many_arguments)] // the call's sizes and plan, which piece, and what of
    pub fn load(
        &mut self,
        sizes: &Sizes,
        plan: &LinesPlan,
        index: usize,
        group: usize,
        corner: Corner,
        x: &[T],
        u: &[T],
    ) -> usize {
        let walk = Walk::new(corner, false);
        self.layout = PlaneLayout::new(sizes, self.rows, Some(walk), T::LANES);
        let planes = sizes.group_channels * sizes.pixels();
        let len = sizes.group_channels * self.layout.plane;
        let u_start = self.u[self.layout.origin..].as_ptr().align_offset(64);
        if u_start != self.u_start {
            self.u.fill(T::default()); // what lay between the rows moves
            self.u_start = u_start;
        }
        let u_lines = self.u[u_start.min(T::LANES)..].chunks_exact_mut(len);
        let lines = self.x.chunks_exact_mut(len).zip(u_lines);
        let first = index * plan.units;
        let units = first..(first + plan.units).min(sizes.batch * plan.bands);
        let count = units.len();
        for (unit, (x_lines, u_lines)) in units.zip(lines) {
            let start = unit / plan.bands * sizes.image() + group * planes;
            let first = unit % plan.bands * self.rows;
            let rows = self.rows.min(sizes.height - first);
            let (x, u) = (&x[start..start + planes], &u[start..start + planes]);
            self.layout.load(sizes, x, first, rows, x_lines);
            self.layout.load_band(sizes, u, first, rows, u_lines);
        }
        count
    }
}

/// Adds the correlation of some bands of one group to `grad`, `[C/g, C/g, k, k]`.
pub struct CorrelateLines<'a, T> {
    /// Sizes of the call.
    pub sizes: &'a Sizes,
    /// The group's corner.
    pub corner: Corner,
    /// Bands that are there.
    pub units: usize,
    /// The bands.
    pub scratch: &'a mut Scratch<T>,
    /// The sums so far.
    pub grad: &'a mut [f64],
}

impl<T: Real> WithSimd for CorrelateLines<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for a in 0..self.sizes.kernel {
            self.find_places(a, T::lanes::<S>());
            if T::lanes::<S>() == T::LANES {
                self.outputs::<S, 4>(simd, a); // 24 sums in 32 registers
            } else {
                self.outputs::<S, 2>(simd, a); // 12 sums in 16 registers
            }
        }
    }
}

/// Neighbouring taps of a filter's row that are summed up together, at most.
const TAPS: usize = 6;

impl<T: Real> CorrelateLines<'_, T> {
    /// Where the vectors of a line begin whose pixels have something `a` rows before them, in all bands.
    #[inline(always)]
    fn find_places(&mut self, a: usize, lanes: usize) {
        let scratch = &mut *self.scratch;
        let (layout, rows) = (&scratch.layout, scratch.rows);
        // a band has rows of other bands before it; a whole image has nothing
        let hidden = if rows == self.sizes.height {
            a.min(rows)
        } else {
            0
        };
        let (first, last) = match self.corner.mirrors_rows() {
            false => (hidden, rows),
            true => (0, rows - hidden),
        };
        scratch.places.clear();
        if first < last {
            let end = (last - 1) * layout.pitch + self.sizes.width;
            for unit in 0..self.units {
                let unit = unit * self.sizes.group_channels * layout.plane;
                let begin = first * layout.pitch / lanes * lanes;
                let places = (begin..end).step_by(lanes);
                scratch.places.extend(places.map(|place| unit + place));
            }
        }
    }

    #[inline(always)]
    fn outputs<S: Simd, const OUT: usize>(&mut self, simd: S, a: usize) {
        let c = self.sizes.group_channels;
        let whole = c / OUT * OUT;
        for out in (0..whole).step_by(OUT) {
            self.taps::<S, OUT>(simd, out, a);
        }
        for out in whole..c {
            self.taps::<S, 1>(simd, out, a);
        }
    }

    /// The taps of one row, in pieces of at most [`TAPS`], as equal as possible.
    #[inline(always)]
    fn taps<S: Simd, const OUT: usize>(&mut self, simd: S, out: usize, a: usize) {
        let k = self.sizes.kernel;
        let pieces = k.div_ceil(TAPS);
        for piece in 0..pieces {
            let taps = k * piece / pieces..k * (piece + 1) / pieces;
            self.inputs::<S, OUT>(simd, out, a, taps);
        }
    }

    /// All inputs, as many at a time as make [`TAPS`] sums.
    #[inline(always)]
    fn inputs<S: Simd, const OUT: usize>(
        &mut self,
        simd: S,
        out: usize,
        a: usize,
        taps: Range<usize>,
    ) {
        // a piece that is nothing but the anchor has no entries above the diagonal
        let inputs = if a == 0 && taps == (0..1) {
            out + OUT
        } else {
            self.sizes.group_channels
        };
        let most = TAPS / taps.len();
        for input in (0..inputs).step_by(most) {
            let piece = Piece {
                out,
                input,
                inputs: most.min(inputs - input),
                a,
                first_tap: taps.start,
                taps: taps.len(),
            };
            match piece.inputs * piece.taps {
                1 => self.piece::<S, OUT, 1>(simd, piece),
                2 => self.piece::<S, OUT, 2>(simd, piece),
                3 => self.piece::<S, OUT, 3>(simd, piece),
                4 => self.piece::<S, OUT, 4>(simd, piece),
                5 => self.piece::<S, OUT, 5>(simd, piece),
                _ => self.piece::<S, OUT, 6>(simd, piece),
            }
        }
    }

    /// Correlates `OUT` lines of `u` with `N` shifted lines of `x`.
    #[inline(always)]
    fn piece<S: Simd, const OUT: usize, const N: usize>(&mut self, simd: S, piece: Piece) {
        let (c, k) = (self.sizes.group_channels, self.sizes.kernel);
        let scratch = &*self.scratch;
        let layout = &scratch.layout;
        let walk = Walk::new(self.corner, false);
        let x: [&[T]; N] = std::array::from_fn(|n| {
            let offset = layout.offset(walk, piece.a, piece.tap(n));
            let line = piece.channel(n) * layout.plane;
            &scratch.x[(line + layout.origin).wrapping_add_signed(offset)..]
        });
        let u = &scratch.u[scratch.u_start.min(T::LANES)..];
        let u: [&[T]; OUT] =
            std::array::from_fn(|o| &u[(piece.out + o) * layout.plane + layout.origin..]);
        let mut sums = zeros::<T, S, OUT, N>(simd);
        // u is zero between its rows, so whatever x has there does not count
        for &place in &scratch.places {
            // the fewer of the two stay in registers beside the sums
            let mut u_here = [sums[0][0]; OUT];
            for (here, u) in u_here.iter_mut().zip(&u) {
                [*here] = *vectors::<T, S, 1>(&u[place..]);
            }
            for n in 0..N {
                let [x_here] = *vectors::<T, S, 1>(&x[n][place..]);
                for o in 0..OUT {
                    sums[o][n] = T::mul_add(simd, u_here[o], x_here, sums[o][n]);
                }
            }
        }
        for (o, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                let (out, input) = (piece.out + o, piece.channel(n));
                let (a, b) = (piece.a, piece.tap(n));
                let (row, column) = self.corner.tap_index(k as i64, a as i64, b as i64);
                let place = row as usize * k + column as usize;
                // entries above the anchor's diagonal stay exactly zero
                if (a, b) != (0, 0) || input <= out {
                    self.grad[(out * c + input) * k * k + place] += T::reduce::<S>(simd, *sum);
                }
            }
        }
    }
}

/// Neighbouring taps of one row of the filter for neighbouring inputs.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// First output.
    out: usize,
    /// First input, and their number.
    input: usize,
    inputs: usize,
    /// Row of the taps, the first of them, and their number.
    a: usize,
    first_tap: usize,
    taps: usize,
}

impl Piece {
    /// Input of the `n`-th sum of an output.
    fn channel(&self, n: usize) -> usize {
        self.input + n / self.taps
    }

    /// Tap of the `n`-th sum of an output.
    fn tap(&self, n: usize) -> usize {
        self.first_tap + n % self.taps
    }
}
