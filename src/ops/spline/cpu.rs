//! The passes over the elements on the CPU.
//!
//! Neighbouring elements are the lanes of a vector. Bins are not looked up but chosen: every lane runs through all
//! bins and keeps the last one that begins at or before it, which is plain arithmetic, whether the lanes share their
//! numbers or have a set each. Backward sums per bin in the same way, each lane for itself, into partial sums whose
//! number does not depend on the threads.
//!
//! Floor: about 60 flops and 7 `bins` selections an element forward, twice that backward; memory is read and written
//! once.

use super::knots::{Knots, SUMS};
use super::{knots, Direction, Sizes};
use crate::ffi::memory::{parallel_chunks, parallel_chunks2};
use crate::ops::cpu::Real;
use pulp::{Arch, Simd, WithSimd};
use std::ops::{Div, Sub};

/// Partial sums that are kept apart.
const PARTIALS: usize = 16;

/// Arithmetic of the spline.
pub trait Scalar: Real + Sub<Output = Self> + Div<Output = Self> + PartialOrd {
    /// Square root.
    fn root(self) -> Self;
    /// Vectors whose slopes are multiplied before one logarithm is taken of the product, which must fit into f64.
    const PER_LOG: usize;
}

impl Scalar for f32 {
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    // 8 numbers of up to 38 decades either way
    const PER_LOG: usize = 8;
}

impl Scalar for f64 {
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    const PER_LOG: usize = 1;
}

/// The numbers of one bin, each for a vector of lanes.
type Bin<T, const N: usize> = [[T; N]; 6];
const X0: usize = 0;
const WIDTH: usize = 1;
const Y0: usize = 2;
const HEIGHT: usize = 3;
const P: usize = 4;
const Q: usize = 5;

/// One call, with its knots.
pub struct Spline {
    sizes: Sizes,
    direction: Direction,
    tail: f64,
    knots: Knots,
}

impl Spline {
    pub fn new<T: Scalar>(sizes: &Sizes, direction: Direction, tail: f64, raw: [&[T]; 3]) -> Self {
        Self {
            sizes: *sizes,
            direction,
            tail,
            knots: Knots::new(sizes, tail, raw),
        }
    }

    pub fn forward<T: Scalar>(&self, x: &[T], value: &mut [T], log_det: &mut [T]) {
        if T::LANES == 16 {
            self.forward_in_lanes::<T, 16>(x, value, log_det);
        } else {
            self.forward_in_lanes::<T, 8>(x, value, log_det);
        }
    }

    /// Writes the gradients of `x` and of the raw numbers; `x` is what [`super::Fused`] says, `incoming` the gradients
    /// of value and log-det.
    pub fn backward<T: Scalar>(
        &self,
        x: &[T],
        incoming: [&[T]; 2],
        x_grad: &mut [T],
        raw: [&mut [T]; 3],
    ) {
        let sums = if T::LANES == 16 {
            self.bin_sums::<T, 16>(x, incoming, x_grad)
        } else {
            self.bin_sums::<T, 8>(x, incoming, x_grad)
        };
        let bins = self.sizes.bins;
        let [widths, heights, derivatives] = raw;
        for (set, sums) in sums.chunks_exact(bins).enumerate() {
            let raw = [
                &mut widths[set * bins..][..bins],
                &mut heights[set * bins..][..bins],
                &mut derivatives[set * (bins - 1)..][..bins - 1],
            ];
            self.knots.raw_gradient(set, sums, raw);
        }
    }

    /// Vectors of lanes with numbers of their own.
    fn blocks<const N: usize>(&self) -> usize {
        self.sizes.sets().div_ceil(N)
    }

    /// The numbers of every bin for every vector of lanes, `[block][bin]`.
    fn table<T: Scalar, const N: usize>(&self) -> Vec<Bin<T, N>> {
        let (bins, sets) = (self.sizes.bins, self.sizes.sets());
        let mut flat = vec![T::default(); self.blocks::<N>() * bins * 6 * N];
        parallel_chunks(&mut flat, bins * 6 * N, |block, chunk| {
            for lane in 0..N {
                // lanes beyond the last set repeat it, and all lanes one that is shared
                let set = self.knots.set((block * N + lane).min(sets - 1));
                for (j, entry) in chunk.chunks_exact_mut(6 * N).enumerate() {
                    let bin = set.bin(j);
                    let numbers = [bin.x0, bin.width, bin.y0, bin.height, bin.p, bin.q];
                    for (field, number) in numbers.into_iter().enumerate() {
                        entry[field * N + lane] = T::from_f64(number);
                    }
                }
            }
        });
        let (vectors, _) = flat.as_chunks::<N>();
        vectors.as_chunks::<6>().0.to_vec()
    }

    fn forward_in_lanes<T: Scalar, const N: usize>(
        &self,
        x: &[T],
        value: &mut [T],
        log_det: &mut [T],
    ) {
        let table = self.table::<T, N>();
        let d = self.sizes.elements;
        let arch = Arch::new();
        parallel_chunks2((value, d), (log_det, 1), |sample, value, log_det| {
            log_det[0] = T::from_f64(arch.dispatch(ForwardSample {
                bins: self.sizes.bins,
                shared: self.sizes.shared,
                inverse: self.direction == Direction::Inverse,
                tail: T::from_f64(self.tail),
                table: &table,
                x: &x[sample * d..][..d],
                value,
            }));
        });
    }

    /// Writes the gradient of the elements and returns the sums of every set and bin.
    fn bin_sums<T: Scalar, const N: usize>(
        &self,
        x: &[T],
        [value_grad, log_det_grad]: [&[T]; 2],
        x_grad: &mut [T],
    ) -> Vec<[f64; SUMS]> {
        let table = self.table::<T, N>();
        let Sizes {
            samples,
            elements: d,
            bins,
            shared,
        } = self.sizes;
        let per_slot = samples.div_ceil(PARTIALS);
        let slots = samples.div_ceil(per_slot);
        let length = self.blocks::<N>() * bins * SUMS * N;
        let mut partials = vec![T::default(); slots * length];
        let arch = Arch::new();
        parallel_chunks2(
            (x_grad, per_slot * d),
            (&mut partials, length),
            |slot, x_grad, sums| {
                let (sums, _) = sums.as_chunks_mut::<N>();
                let (sums, _) = sums.as_chunks_mut::<SUMS>();
                for (index, x_grad) in x_grad.chunks_exact_mut(d).enumerate() {
                    let sample = slot * per_slot + index;
                    arch.dispatch(BackwardSample {
                        bins,
                        shared,
                        inverse: self.direction == Direction::Inverse,
                        tail: T::from_f64(self.tail),
                        table: &table,
                        x: &x[sample * d..][..d],
                        value_grad: &value_grad[sample * d..][..d],
                        log_det_grad: log_det_grad[sample],
                        x_grad,
                        sums,
                    });
                }
            },
        );
        self.total::<T, N>(&partials, length)
    }

    /// Adds the partial sums up, in their order; lanes that share their numbers are added up too.
    fn total<T: Scalar, const N: usize>(&self, partials: &[T], length: usize) -> Vec<[f64; SUMS]> {
        let bins = self.sizes.bins;
        let per_block = bins * SUMS * N;
        let mut totals = vec![0.0; length];
        parallel_chunks(&mut totals, per_block, |block, totals| {
            for partial in partials.chunks_exact(length) {
                for (total, part) in totals.iter_mut().zip(&partial[block * per_block..]) {
                    *total += part.to_f64();
                }
            }
        });
        let (lanes, _) = totals.as_chunks::<N>();
        let (entries, _) = lanes.as_chunks::<SUMS>();
        let of = |set: usize, bin: usize, field: usize| {
            let entry = &entries[set / N * bins + bin][field];
            match self.sizes.shared {
                true => entry.iter().sum(),
                false => entry[set % N],
            }
        };
        let sets = (0..self.sizes.sets()).flat_map(|set| (0..bins).map(move |bin| (set, bin)));
        sets.map(|(set, bin)| std::array::from_fn(|field| of(set, bin, field)))
            .collect()
    }
}

/// The numbers of each lane's bin, its number, and whether the lane lies outside all bins.
struct Chosen<T, const N: usize> {
    bin: Bin<T, N>,
    index: [T; N],
    outside: [bool; N],
}

/// The last bin that begins at or before each lane on the axis `from` ([`X0`] or [`Y0`]).
#[inline(always)]
fn choose<T: Scalar, const N: usize>(
    at: &[T; N],
    from: usize,
    tail: T,
    bins: &[Bin<T, N>],
) -> Chosen<T, N> {
    let mut bin = bins[0];
    let mut index = [T::default(); N];
    for (j, candidate) in bins.iter().enumerate().skip(1) {
        let starts = &candidate[from];
        let number = T::from_f64(j as f64);
        for l in 0..N {
            index[l] = if at[l] >= starts[l] { number } else { index[l] };
        }
        for field in 0..6 {
            for l in 0..N {
                bin[field][l] = if at[l] >= starts[l] {
                    candidate[field][l]
                } else {
                    bin[field][l]
                };
            }
        }
    }
    let lowest = T::default() - tail;
    let mut outside = [false; N];
    for l in 0..N {
        // not the negation of being inside: a NaN is in no tail and stays visible
        outside[l] = at[l] < lowest || at[l] >= tail;
    }
    Chosen {
        bin,
        index,
        outside,
    }
}

/// `N` elements from `x[start..]`; lanes past the end get `beyond`.
#[inline(always)]
fn load<T: Scalar, const N: usize>(x: &[T], start: usize, beyond: T) -> [T; N] {
    let mut lanes = [beyond; N];
    match x[start..].first_chunk::<N>() {
        Some(whole) => lanes = *whole,
        None => lanes[..x.len() - start].copy_from_slice(&x[start..]),
    }
    lanes
}

#[inline(always)]
fn store<T: Scalar, const N: usize>(x: &mut [T], start: usize, lanes: &[T; N]) {
    let end = x.len().min(start + N);
    x[start..end].copy_from_slice(&lanes[..end - start]);
}

/// One sample's values; its result is the log-det.
struct ForwardSample<'a, T, const N: usize> {
    bins: usize,
    shared: bool,
    inverse: bool,
    tail: T,
    table: &'a [Bin<T, N>],
    x: &'a [T],
    value: &'a mut [T],
}

impl<T: Scalar, const N: usize> WithSimd for ForwardSample<'_, T, N> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let mut log_det = 0.0;
        let mut product = [1.0f64; N];
        let mut factors = 0;
        for start in (0..self.x.len()).step_by(N) {
            let block = if self.shared { 0 } else { start / N };
            let bins = &self.table[block * self.bins..][..self.bins];
            let at = load(self.x, start, self.tail);
            let (value, slope) = if self.inverse {
                inverse_lanes(&at, self.tail, bins)
            } else {
                forward_lanes(&at, self.tail, bins)
            };
            store(self.value, start, &value);
            for l in 0..N {
                product[l] *= slope[l].to_f64();
            }
            factors += 1;
            if factors == T::PER_LOG || start + N >= self.x.len() {
                log_det += product.iter().map(|p| p.ln()).sum::<f64>();
                (product, factors) = ([1.0; N], 0);
            }
        }
        if self.inverse {
            -log_det
        } else {
            log_det
        }
    }
}

/// `y` and `dy/dx` at `x`.
#[inline(always)]
fn forward_lanes<T: Scalar, const N: usize>(
    x: &[T; N],
    tail: T,
    bins: &[Bin<T, N>],
) -> ([T; N], [T; N]) {
    let Chosen { bin, outside, .. } = choose(x, X0, tail, bins);
    let one = T::from_f64(1.0);
    let two = T::from_f64(2.0);
    let (mut y, mut slope) = (*x, [one; N]);
    for l in 0..N {
        let scale = one / bin[WIDTH][l];
        let u = (x[l] - bin[X0][l]) * scale;
        let rest = one - u;
        let v = u * rest;
        let inverse = one / (one + (bin[P][l] + bin[Q][l] - two) * v);
        let inside = bin[Y0][l] + bin[HEIGHT][l] * (u * u + bin[P][l] * v) * inverse;
        let numerator = bin[P][l] * rest * rest + two * v + bin[Q][l] * u * u;
        let steep = bin[HEIGHT][l] * scale * numerator * inverse * inverse;
        y[l] = if outside[l] { x[l] } else { inside };
        slope[l] = if outside[l] { one } else { steep };
    }
    (y, slope)
}

/// `x` and `dy/dx` at `y`: the root of `g u^2 - (1 + g) u + t` with `t = (y - y0) / h`, `g = P - 1 - t (P + Q - 2)`, in
/// that of its two forms which does not cancel.
#[inline(always)]
fn inverse_lanes<T: Scalar, const N: usize>(
    y: &[T; N],
    tail: T,
    bins: &[Bin<T, N>],
) -> ([T; N], [T; N]) {
    let Chosen { bin, outside, .. } = choose(y, Y0, tail, bins);
    let (zero, one) = (T::default(), T::from_f64(1.0));
    let (two, four) = (T::from_f64(2.0), T::from_f64(4.0));
    let (mut x, mut slope) = (*y, [one; N]);
    for l in 0..N {
        let t = (y[l] - bin[Y0][l]) / bin[HEIGHT][l];
        let bend = bin[P][l] + bin[Q][l] - two;
        let g = bin[P][l] - one - t * bend;
        let b = one + g;
        let square = b * b - four * g * t;
        // a NaN passes
        let root = (if square < zero { zero } else { square }).root();
        let plus = b >= zero;
        let numerator = if plus { two * t } else { b - root };
        let denominator = if plus { b + root } else { two * g };
        let u = numerator / denominator;
        let rest = one - u;
        let v = u * rest;
        let inverse = one / (one + bend * v);
        let steepness = bin[P][l] * rest * rest + two * v + bin[Q][l] * u * u;
        let steep = bin[HEIGHT][l] / bin[WIDTH][l] * steepness * inverse * inverse;
        x[l] = if outside[l] {
            y[l]
        } else {
            bin[X0][l] + bin[WIDTH][l] * u
        };
        slope[l] = if outside[l] { one } else { steep };
    }
    (x, slope)
}

/// One sample's gradient; adds to the sums `[block][bin][field]` of its slot.
struct BackwardSample<'a, T, const N: usize> {
    bins: usize,
    shared: bool,
    inverse: bool,
    tail: T,
    table: &'a [Bin<T, N>],
    x: &'a [T],
    value_grad: &'a [T],
    log_det_grad: T,
    x_grad: &'a mut [T],
    sums: &'a mut [[[T; N]; SUMS]],
}

impl<T: Scalar, const N: usize> WithSimd for BackwardSample<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for start in (0..self.x.len()).step_by(N) {
            let block = if self.shared { 0 } else { start / N };
            let range = block * self.bins..(block + 1) * self.bins;
            // lanes past the end lie in a tail, whose elements add to no sum
            let x = load(self.x, start, self.tail);
            let grad = load(self.value_grad, start, T::default());
            let chosen = choose(&x, X0, self.tail, &self.table[range.clone()]);
            let (x_grad, terms) =
                gradient_lanes(&x, &grad, self.log_det_grad, self.inverse, &chosen);
            store(self.x_grad, start, &x_grad);
            for (j, sums) in self.sums[range].iter_mut().enumerate() {
                let number = T::from_f64(j as f64);
                for field in 0..SUMS {
                    for l in 0..N {
                        let here = chosen.index[l] == number;
                        sums[field][l] += if here { terms[field][l] } else { T::default() };
                    }
                }
            }
        }
    }
}

/// The gradient of every element, and its terms of its bin's sums; the letters are those of [`knots`].
#[inline(always)]
fn gradient_lanes<T: Scalar, const N: usize>(
    x: &[T; N],
    grad: &[T; N],
    log_det_grad: T,
    inverse: bool,
    chosen: &Chosen<T, N>,
) -> ([T; N], [[T; N]; SUMS]) {
    let bin = &chosen.bin;
    let (zero, one, two) = (T::default(), T::from_f64(1.0), T::from_f64(2.0));
    let mut x_grad = *grad;
    let mut terms = [[zero; N]; SUMS];
    let l_grad = if inverse {
        zero - log_det_grad
    } else {
        log_det_grad
    };
    for l in 0..N {
        let scale = one / bin[WIDTH][l];
        let u = (x[l] - bin[X0][l]) * scale;
        let rest = one - u;
        let v = u * rest;
        let turn = rest - u; // dv/du
        let bend = bin[P][l] + bin[Q][l] - two;
        let over = one / (one + bend * v);
        let rise = (u * u + bin[P][l] * v) * over;
        let steepness = bin[P][l] * rest * rest + two * v + bin[Q][l] * u * u;
        let per_steepness = one / steepness;
        // d(log f')/du, and df/du
        let log_slope_u = (two * (bin[Q][l] * u - bin[P][l] * rest) + two * turn) * per_steepness
            - two * bend * turn * over;
        let value_u = bin[HEIGHT][l] * steepness * over * over;
        // along the element: what comes in, and in the inverse direction what that means for the forward one
        let along =
            grad[l] * (if inverse { one } else { value_u * scale }) + l_grad * log_slope_u * scale;
        let through = along / (value_u * scale);
        let g = if inverse { zero - through } else { grad[l] };
        let inside = if inverse { through } else { along };
        let outside = chosen.outside[l];
        x_grad[l] = if outside { grad[l] } else { inside };
        let of_fraction = g * bin[HEIGHT][l] * over;
        let of_denominator = zero - of_fraction * rise - two * l_grad * over;
        let of_steepness = l_grad * per_steepness;
        let of_u = g * value_u + l_grad * log_slope_u;
        let of_bend = of_denominator * v;
        let values = [
            g,
            g * rise,
            l_grad,
            of_u,
            of_u * u,
            of_fraction * v + of_bend + of_steepness * rest * rest,
            of_bend + of_steepness * u * u,
        ];
        for field in 0..SUMS {
            terms[field][l] = if outside { zero } else { values[field] };
        }
    }
    debug_assert!(
        knots::Q == SUMS - 1,
        "the order of `values` is that of `knots`"
    );
    (x_grad, terms)
}
