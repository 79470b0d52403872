//! The passes over the elements on the CPU.
//!
//! Neighbouring elements are the lanes of loops that the compiler vectorises. A lane's bin is found by counting the
//! knots at or before it, without a branch, and its numbers are looked up; everything else is arithmetic, whether the
//! lanes share their numbers or have a set each. Backward sums per bin, each lane for itself, into partial sums whose
//! number does not depend on the threads.
//!
//! Floor: about 60 flops, 6 look-ups and a comparison a bin for an element forward, twice that and 7 additions a bin
//! backward; memory is read and written once.

use super::knots::{Knots, SUMS};
use super::lanes::{
    choose, forward_lanes, gradient_lanes, inverse_lanes, load, store, LaneBin, Lanes, N, X0,
};
use crate::ffi::threads::{parallel_chunks, parallel_chunks2};
use crate::ops::vector::Real;
use crate::problem::spline::SplineSizes;
use crate::problem::Direction;
use pulp::{Arch, Simd, WithSimd};

/// Partial sums that are kept apart.
const PARTIALS: usize = 16;

/// One call, with its knots.
pub struct KnottedSpline {
    sizes: SplineSizes,
    direction: Direction,
    tail: f64,
    knots: Knots,
}

impl KnottedSpline {
    pub fn new<T: Real>(
        sizes: &SplineSizes,
        direction: Direction,
        tail: f64,
        raw: [&[T]; 3],
    ) -> Self {
        Self {
            sizes: *sizes,
            direction,
            tail,
            knots: Knots::new(sizes, tail, raw),
        }
    }

    pub fn forward<T: Real>(&self, x: &[T], value: &mut [T], log_det: &mut [T]) {
        let table = self.table::<T>();
        let d = self.sizes.elements;
        let arch = Arch::new();
        parallel_chunks2((value, d), (log_det, 1), |sample, value, log_det| {
            log_det[0] = T::from_f64(arch.dispatch(SplineForward {
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

    /// Writes the gradients of `x` and of the raw numbers; `x` is what `super::SplineCall` says, `incoming` the gradients
    /// of value and log-det.
    pub fn backward<T: Real>(
        &self,
        x: &[T],
        incoming: [&[T]; 2],
        x_grad: &mut [T],
        raw: [&mut [T]; 3],
    ) {
        let sums = self.bin_sums(x, incoming, x_grad);
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
    fn blocks(&self) -> usize {
        self.sizes.sets().div_ceil(N)
    }

    /// The numbers of every bin for every vector of lanes, `[block][bin]`.
    fn table<T: Real>(&self) -> Vec<LaneBin<T>> {
        let (bins, sets) = (self.sizes.bins, self.sizes.sets());
        let mut flat = vec![T::default(); self.blocks() * bins * 6 * N];
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

    /// Writes the gradient of the elements and returns the sums of every set and bin.
    fn bin_sums<T: Real>(
        &self,
        x: &[T],
        [value_grad, log_det_grad]: [&[T]; 2],
        x_grad: &mut [T],
    ) -> Vec<[f64; SUMS]> {
        let table = self.table::<T>();
        let SplineSizes {
            samples,
            elements: d,
            bins,
            shared,
        } = self.sizes;
        let per_slot = samples.div_ceil(PARTIALS);
        let slots = samples.div_ceil(per_slot);
        let length = self.blocks() * bins * SUMS * N;
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
                    arch.dispatch(SplineBackward {
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
        self.total(&partials, length)
    }

    /// Adds the partial sums up, in their order; lanes that share their numbers are added up too.
    fn total<T: Real>(&self, partials: &[T], length: usize) -> Vec<[f64; SUMS]> {
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

/// One sample's values; its result is the log-det.
struct SplineForward<'a, T> {
    bins: usize,
    shared: bool,
    inverse: bool,
    tail: T,
    table: &'a [LaneBin<T>],
    x: &'a [T],
    value: &'a mut [T],
}

impl<T: Real> WithSimd for SplineForward<'_, T> {
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
            if factors == T::FACTORS_IN_F64 || start + N >= self.x.len() {
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

/// One sample's gradient; adds to the sums `[block][bin][field]` of its slot.
struct SplineBackward<'a, T> {
    bins: usize,
    shared: bool,
    inverse: bool,
    tail: T,
    table: &'a [LaneBin<T>],
    x: &'a [T],
    value_grad: &'a [T],
    log_det_grad: T,
    x_grad: &'a mut [T],
    sums: &'a mut [[Lanes<T>; SUMS]],
}

impl<T: Real> WithSimd for SplineBackward<'_, T> {
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
