//! Masked filters, the paths from a colour to itself, the slope of the direct path.

use super::arguments::{check_filters, ResidualFilters, ResidualWeights};
use super::reference;
use crate::cuda::masked_residual::FiltersOnGpu;
use crate::ffi::threads::parallel_chunks;
use crate::ops::fused::{has_kernels, run, take, FusedOp};
use crate::ops::vector::Real;
use crate::problem::residual::{Triangle, MIN_SLOPE};
use crate::Result;
use tch::Tensor;

/// Taps of a filter, and the one in the middle.
const TAPS: usize = 9;
const CENTRE: usize = 4;

/// Masks the filters, and chooses the signs of the centre taps of the second one between equal colours so that no path from
/// a colour to itself is negative.
///
/// ```text
/// W2_abi -> sgn(W1_bi) sgn(W3_ai) |W2_abi|,   paths_iab = W1_bi W2_abi W3_ai        (centre taps between equal colours)
/// ```
///
/// # Gradients
/// Exact where no centre tap is 0; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn residual_filters(
    weights: &ResidualWeights<'_>,
    triangle: Triangle,
) -> Result<ResidualFilters> {
    let call = FiltersCall {
        sizes: check_filters(weights)?,
        triangle,
    };
    let [w1, w2, w3] = weights.filters;
    let [first, second, third, paths, slope] = take(run(call, &[w1, w2, w3, weights.t])?);
    Ok(ResidualFilters {
        filters: [first, second, third],
        paths,
        slope,
    })
}

/// One call. With `c1, c2, c3` the centre taps of a path and `σ = sgn(c1) sgn(c3)`, and the gradients G of the filters and P
/// of the paths,
///
/// ```text
/// dc1 = G1 + Σ_a P_ab σ |c2| c3,   dc3 = G3 + Σ_b P_ab σ |c2| c1,   dc2 = σ sgn(c2) (G2 + P c1 c3)
/// ```
///
/// and for all other taps the masked gradients of the filters.
struct FiltersCall {
    /// Colours, hidden channels of each, elements of an image.
    sizes: [i64; 3],
    triangle: Triangle,
}

/// The centre taps of the paths.
#[derive(Clone, Copy)]
struct Centres<'a, T> {
    colours: usize,
    multiplicity: usize,
    weights: [&'a [T]; 3],
}

/// -1, 0 or 1.
fn sign<T: Real>(value: T) -> T {
    let zero = T::default();
    T::from_f64(f64::from(i8::from(value > zero) - i8::from(value < zero)))
}

impl<T: Real> Centres<'_, T> {
    fn tap(&self, weight: usize, output: usize, input: usize) -> T {
        let inputs = if weight == 0 {
            self.colours
        } else {
            self.multiplicity * self.colours
        };
        self.weights[weight][(output * inputs + input) * TAPS + CENTRE]
    }

    /// `c1, c2, c3` of the path of colour i through b and a, and σ.
    fn path(&self, i: usize, a: usize, b: usize) -> ([T; 3], T) {
        let (a, b) = (a * self.colours + i, b * self.colours + i);
        let taps = [self.tap(0, b, i), self.tap(1, a, b), self.tap(2, i, a)];
        (taps, sign(taps[0]) * sign(taps[2]))
    }
}

impl FiltersCall {
    fn centres<'a, T: Real>(&self, weights: [&'a [T]; 3]) -> Centres<'a, T> {
        Centres {
            colours: self.sizes[0] as usize,
            multiplicity: self.sizes[1] as usize,
            weights,
        }
    }

    /// Input channels of a filter.
    fn inputs(&self, filter: usize) -> usize {
        let [colours, multiplicity, _] = self.sizes.map(|size| size as usize);
        if filter == 0 {
            colours
        } else {
            multiplicity * colours
        }
    }

    /// Writes `made` `[outputs, inputs, 9]`: what `of` has, or 0 where the mask is; `centre(out, a, b, i)` changes what is
    /// on the diagonal of the Jacobian, for output a C + i and input b C + i.
    fn masked<T: Real>(
        &self,
        filter: usize,
        of: &[T],
        made: &mut [T],
        centre: impl Fn(&mut T, usize, usize, usize) + Sync,
    ) {
        let colours = self.sizes[0];
        let inputs = self.inputs(filter);
        // which taps are seen, for every pair of colours
        let pairs = (0..colours * colours * TAPS as i64).map(|index| {
            let (pair, tap) = (index / TAPS as i64, index % TAPS as i64);
            self.triangle
                .sees(pair / colours, pair % colours, [tap / 3, tap % 3])
        });
        let seen: Vec<bool> = pairs.collect();
        let colours = colours as usize;
        parallel_chunks(made, inputs * TAPS, |output, made| {
            let (a, i) = (output / colours, output % colours);
            let of = &of[output * inputs * TAPS..][..inputs * TAPS];
            let taps = made.chunks_exact_mut(TAPS).zip(of.chunks_exact(TAPS));
            for (input, (made, of)) in taps.enumerate() {
                let (b, j) = (input / colours, input % colours);
                let seen = &seen[(i * colours + j) * TAPS..][..TAPS];
                for tap in 0..TAPS {
                    made[tap] = if seen[tap] { of[tap] } else { T::default() };
                }
                if i == j {
                    centre(&mut made[CENTRE], a, b, i);
                }
            }
        });
    }

    fn on_gpu(&self) -> FiltersOnGpu {
        FiltersOnGpu {
            sizes: self.sizes,
            lower: self.triangle == Triangle::Lower,
        }
    }
}

impl FusedOp for FiltersCall {
    const NAME: &'static str = "residual_filters";

    fn takes(&self, weight: &Tensor) -> bool {
        has_kernels(weight)
    }

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        let [colours, multiplicity, _] = self.sizes;
        let mut sizes: Vec<_> = inputs.iter().map(Tensor::size).collect();
        sizes.insert(3, vec![colours, multiplicity, multiplicity]);
        sizes
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let [w1, w2, w3, t] = take(inputs.iter().copied());
        let weights = ResidualWeights {
            filters: [w1, w2, w3],
            t,
        };
        let made = reference::residual_filters(&weights, self.triangle)?;
        let [first, second, third] = made.filters;
        Ok(vec![first, second, third, made.paths, made.slope])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let [w1, w2, w3, t] = take(inputs.iter().copied());
        let [first, second, third, paths, slope] = take(outputs);
        let centres = self.centres([w1, w2, w3]);
        self.masked(0, w1, first, |_, _, _, _| {});
        self.masked(1, w2, second, |tap, a, b, i| {
            let ([_, c2, _], signs) = centres.path(i, a, b);
            *tap = signs * c2.absolute();
        });
        self.masked(2, w3, third, |_, _, _, _| {});
        let l = centres.multiplicity;
        for (index, path) in paths.iter_mut().enumerate() {
            let ([c1, c2, c3], signs) = centres.path(index / (l * l), index / l % l, index % l);
            *path = c1 * (signs * c2.absolute()) * c3;
        }
        let least = T::from_f64(MIN_SLOPE);
        for (slope, t) in slope.iter_mut().zip(t) {
            let t = t.absolute();
            // a NaN stays one
            *slope = if t < least { least } else { t };
        }
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let [w1, w2, w3, t] = take(saved.iter().copied());
        let [first, second, third, paths, slope] = take(grads.iter().copied());
        let [w1_grad, w2_grad, w3_grad, t_grad] = take(input_grads);
        let centres = self.centres([w1, w2, w3]);
        let l = centres.multiplicity;
        let path_grad = |i: usize, a: usize, b: usize| paths[(i * l + a) * l + b];
        // output b of the first filter, for its only input
        self.masked(0, first, w1_grad, |tap, b, _, i| {
            let of_paths = (0..l).map(|a| {
                let ([_, c2, c3], signs) = centres.path(i, a, b);
                (path_grad(i, a, b) * signs * c2.absolute() * c3).to_f64()
            });
            *tap += T::from_f64(of_paths.sum());
        });
        self.masked(1, second, w2_grad, |tap, a, b, i| {
            let ([c1, c2, c3], signs) = centres.path(i, a, b);
            *tap = signs * sign(c2) * (*tap + path_grad(i, a, b) * c1 * c3);
        });
        self.masked(2, third, w3_grad, |tap, _, a, i| {
            let of_paths = (0..l).map(|b| {
                let ([c1, c2, _], signs) = centres.path(i, a, b);
                (path_grad(i, a, b) * signs * c2.absolute() * c1).to_f64()
            });
            *tap += T::from_f64(of_paths.sum());
        });
        let least = T::from_f64(MIN_SLOPE);
        for ((t_grad, &t), &grad) in t_grad.iter_mut().zip(t).zip(slope) {
            *t_grad = if t.absolute() >= least {
                grad * sign(t)
            } else {
                T::default()
            };
        }
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(self.on_gpu().forward(take(inputs))?.into())
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        let made = self.on_gpu().backward(take(saved), take(grads))?;
        Ok(made.into())
    }
}
