//! Filters in the form of length and direction, several of them as one pass forward and one backward.

use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::weight_norm as gpu;
use crate::ffi::threads::{parallel_chunks, parallel_chunks2};
use crate::ops::vector::Real;
use crate::words::{device, dtype};
use crate::{Error, Result};
use pulp::Arch;
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernels.
pub mod reference {
    use super::check;
    use crate::Result;
    use tch::{Kind, Tensor};

    /// As [`super::weight_norm`].
    ///
    /// # Errors
    /// As [`super::weight_norm`].
    pub fn weight_norm(pairs: &[(&Tensor, &Tensor)]) -> Result<Vec<Tensor>> {
        check(pairs)?;
        let filters = pairs.iter().map(|(direction, gain)| {
            let others: Vec<i64> = (1..direction.dim() as i64).collect();
            let squares = direction.f_square()?;
            let norm = squares
                .f_sum_dim_intlist(others.as_slice(), true, None::<Kind>)?
                .f_sqrt()?;
            Ok(direction.f_mul(&gain.f_view_as(&norm)?.f_div(&norm)?)?)
        });
        filters.collect()
    }
}

/// `gain[o] direction[o] / |direction[o]|` of every pair, the norm being taken over all but the first dimension; the filters
/// of a net together, since each is little work.
///
/// # Shapes
/// `direction` `[O, ...]` and `gain` of O elements, one to four pairs → `[O, ...]` each. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
///
/// # Source
/// Salimans, Kingma, *Weight normalization*, 2016, <https://arxiv.org/abs/1602.07868>.
pub fn weight_norm(pairs: &[(&Tensor, &Tensor)]) -> Result<Vec<Tensor>> {
    let columns = check(pairs)?;
    let inputs: Vec<&Tensor> = pairs.iter().flat_map(|(d, g)| [*d, *g]).collect();
    run(WeightNormCall(columns), &inputs)
}

/// Elements of a row of each filter.
fn check(pairs: &[(&Tensor, &Tensor)]) -> Result<Vec<usize>> {
    let wrong = |arg, text: String| Err(Error::argument("weight_norm", arg, text));
    let Some((first, _)) = pairs.first().filter(|_| pairs.len() <= gpu::FILTERS) else {
        let text = format!("must be 1 to {} filters, got {}", gpu::FILTERS, pairs.len());
        return wrong("direction", text);
    };
    let facts = |t: &Tensor| {
        format!(
            "{:?} {} on {}",
            t.size(),
            dtype(t.kind()),
            device(t.device())
        )
    };
    let alike = |t: &Tensor| (t.kind(), t.device()) == (first.kind(), first.device());
    let mut columns = Vec::with_capacity(pairs.len());
    for (direction, gain) in pairs {
        let size = direction.size();
        let floats = matches!(direction.kind(), Kind::Float | Kind::Double);
        if size.len() < 2 || size.contains(&0) || !floats || !alike(direction) {
            let text = format!(
                "must be [O, ...] with elements, float32 or float64, all alike, got {}",
                facts(direction)
            );
            return wrong("direction", text);
        }
        if gain.numel() as i64 != size[0] || !alike(gain) {
            let text = format!(
                "must be a number for each of the {} outputs of {}, got {}",
                size[0],
                facts(direction),
                facts(gain)
            );
            return wrong("gain", text);
        }
        columns.push(size[1..].iter().product::<i64>() as usize);
    }
    Ok(columns)
}

/// One call: the elements of a row of each filter. With `n = |d|` and the incoming gradient G of a row,
///
/// ```text
/// dgain = G d / n,   dd = gain / n (G - d (G d) / n^2)
/// ```
struct WeightNormCall(Vec<usize>);

/// `Σ a b` in double precision, in 8 parts that are vectorised.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for l in 0..8 {
            sums[l] += a[l].to_f64() * b[l].to_f64();
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest: f64 = rest.map(|(a, b)| a.to_f64() * b.to_f64()).sum();
    sums.iter().sum::<f64>() + rest
}

impl FusedOp for WeightNormCall {
    const NAME: &'static str = "weight_norm";

    fn takes(&self, x: &Tensor) -> bool {
        has_kernels(x)
    }

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        inputs.iter().step_by(2).map(Tensor::size).collect()
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let pairs: Vec<_> = inputs
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect();
        reference::weight_norm(&pairs)
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let arch = Arch::new();
        for ((pair, &columns), weight) in inputs.chunks_exact(2).zip(&self.0).zip(outputs) {
            let [direction, gain] = take(pair.iter().copied());
            parallel_chunks(weight, columns, |row, weight| {
                let direction = &direction[row * columns..][..columns];
                arch.dispatch(|| {
                    let norm = dot(direction, direction).sqrt();
                    let scale = T::from_f64(gain[row].to_f64() / norm);
                    for (weight, &direction) in weight.iter_mut().zip(direction) {
                        *weight = direction * scale;
                    }
                });
            });
        }
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], mut input_grads: Vec<&mut [T]>) {
        let arch = Arch::new();
        let pairs = saved.chunks_exact(2).zip(input_grads.chunks_exact_mut(2));
        for (((pair, made), &columns), grad) in pairs.zip(&self.0).zip(grads) {
            let [direction, gain] = take(pair.iter().copied());
            let [direction_grad, gain_grad] = take(made.iter_mut());
            parallel_chunks2(
                (direction_grad, columns),
                (gain_grad, 1),
                |row, made, of_gain| {
                    let direction = &direction[row * columns..][..columns];
                    let grad = &grad[row * columns..][..columns];
                    arch.dispatch(|| {
                        let (squares, along) = (dot(direction, direction), dot(direction, grad));
                        let norm = squares.sqrt();
                        let scale = T::from_f64(gain[row].to_f64() / norm);
                        let part = T::from_f64(along / squares);
                        for ((made, &direction), &grad) in made.iter_mut().zip(direction).zip(grad)
                        {
                            *made = scale * (grad - part * direction);
                        }
                        of_gain[0] = T::from_f64(along / norm);
                    });
                },
            );
        }
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        gpu::forward(inputs)
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        gpu::backward(saved, grads)
    }
}
