//! One butterfly factor with its log-det, as one pass forward and one backward.

use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::butterfly as gpu;
use crate::ffi::threads::{parallel_chunks, parallel_chunks2};
use crate::ops::vector::Real;
use crate::words::dtype;
use crate::{Error, Result};
use pulp::Arch;
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernels.
pub mod reference {
    use super::check;
    use crate::Result;
    use tch::{Kind, Tensor};

    /// As [`super::butterfly`].
    ///
    /// # Errors
    /// As [`super::butterfly`].
    pub fn butterfly(x: &Tensor, factor: &Tensor) -> Result<(Tensor, Tensor)> {
        let ([n, blocks, pairs], size) = (check(x, factor)?, x.size());
        let halves = x.f_reshape([n, blocks, 2, 1, pairs])?;
        let from_first = halves.f_select(2, 0)?.f_mul(&factor.f_select(1, 0)?)?;
        let value = from_first.f_addcmul(&halves.f_select(2, 1)?, &factor.f_select(1, 1)?)?;
        let log_det = determinant(factor)?.f_abs()?.f_log()?.f_sum(None::<Kind>)?;
        Ok((
            value.f_view(size.as_slice())?,
            log_det.f_expand([n], false)?,
        ))
    }

    /// `a d - b c` of a factor `[blocks, 2, 2, pairs]`.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn determinant(factor: &Tensor) -> Result<Tensor> {
        let entry = |input, output| factor.f_select(1, input)?.f_select(1, output);
        let (a, c, b, d) = (entry(0, 0)?, entry(0, 1)?, entry(1, 0)?, entry(1, 1)?);
        Ok(a.f_mul(&d)?.f_sub(&b.f_mul(&c)?)?)
    }
}

/// Mixes the elements of each sample in pairs, one of the first half of a block and the one at the same place of its second
/// half; returns the value and the log-det.
///
/// ```text
/// y0 = a x0 + b x1,   y1 = c x0 + d x1,   log-det = sum log|a d - b c|
/// ```
///
/// # Shapes
/// `x` `[N, ...]` with `D` elements a sample, in `blocks` blocks of two halves of `pairs`; `factor` `[blocks, 2, 2, pairs]` with
/// indices (block, input half, output half, pair) → as `x`, and `[N]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn butterfly(x: &Tensor, factor: &Tensor) -> Result<(Tensor, Tensor)> {
    let sizes = check(x, factor)?;
    let [value, log_det] = take(run(ButterflyCall(sizes), &[x, factor])?);
    Ok((value, log_det))
}

/// Samples, blocks, pairs.
fn check(x: &Tensor, factor: &Tensor) -> Result<[i64; 3]> {
    let (size, factor_size) = (x.size(), factor.size());
    let fits = match (size.as_slice(), factor_size.as_slice()) {
        ([_, rest @ ..], &[blocks, 2, 2, pairs]) => {
            rest.iter().product::<i64>() == 2 * blocks * pairs
        }
        _ => false,
    };
    let facts = |t: &Tensor| (t.kind(), t.device());
    let floats = matches!(x.kind(), Kind::Float | Kind::Double);
    if !fits || !floats || facts(x) != facts(factor) {
        let text = format!(
            "must be [blocks, 2, 2, pairs] for the elements of `x`, float32 or float64 as it is, got {factor_size:?} {} for \
             {size:?} {}",
            dtype(factor.kind()),
            dtype(x.kind())
        );
        return Err(Error::argument("butterfly", "factor", text));
    }
    Ok([size[0], factor_size[0], factor_size[3]])
}

/// One call: samples, blocks, pairs. With the incoming gradients g and l, and `D = a d - b c`,
///
/// ```text
/// dx0 = a g0 + c g1,   dx1 = b g0 + d g1
/// da = Σ g0 x0 + Σ l d/D,   db = Σ g0 x1 - Σ l c/D,   dc = Σ g1 x0 - Σ l b/D,   dd = Σ g1 x1 + Σ l a/D
/// ```
struct ButterflyCall([i64; 3]);

/// The four numbers of every pair of a block.
#[derive(Clone, Copy)]
struct Block<'a, T> {
    a: &'a [T],
    b: &'a [T],
    c: &'a [T],
    d: &'a [T],
}

impl<'a, T: Real> Block<'a, T> {
    fn of(factor: &'a [T], block: usize, pairs: usize) -> Self {
        let entry = |index: usize| &factor[(4 * block + index) * pairs..][..pairs];
        Self {
            a: entry(0),
            c: entry(1),
            b: entry(2),
            d: entry(3),
        }
    }

    fn transposed(self) -> Self {
        Self {
            b: self.c,
            c: self.b,
            ..self
        }
    }

    #[inline(always)]
    fn apply(self, x: &[T], y: &mut [T]) {
        let pairs = self.a.len();
        let ((x0, x1), (y0, y1)) = (x.split_at(pairs), y.split_at_mut(pairs));
        for p in 0..pairs {
            y0[p] = self.a[p] * x0[p] + self.b[p] * x1[p];
            y1[p] = self.c[p] * x0[p] + self.d[p] * x1[p];
        }
    }

    fn determinant(self, p: usize) -> f64 {
        let [a, b, c, d] = [self.a, self.b, self.c, self.d].map(|entry| entry[p].to_f64());
        a * d - b * c
    }
}

impl ButterflyCall {
    fn sizes(&self) -> [usize; 3] {
        self.0.map(|size| size as usize)
    }
}

impl FusedOp for ButterflyCall {
    const NAME: &'static str = "butterfly";

    fn takes(&self, x: &Tensor) -> bool {
        has_kernels(x)
    }

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        vec![inputs[0].size(), vec![self.0[0]]]
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (value, log_det) = reference::butterfly(inputs[0], inputs[1])?;
        Ok(vec![value, log_det])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let ([x, factor], [value, log_det]) = (take(inputs.iter().copied()), take(outputs));
        let [_, blocks, pairs] = self.sizes();
        let of_block = |block| Block::of(factor, block, pairs);
        let all = (0..blocks).flat_map(|block| (0..pairs).map(move |p| (block, p)));
        let logs = all.map(|(block, p)| of_block(block).determinant(p).abs().ln());
        let sum = T::from_f64(logs.sum());
        let sample = blocks * 2 * pairs;
        let arch = Arch::new();
        parallel_chunks2((value, sample), (log_det, 1), |n, value, log_det| {
            log_det[0] = sum;
            let x = &x[n * sample..][..sample];
            let halves = x
                .chunks_exact(2 * pairs)
                .zip(value.chunks_exact_mut(2 * pairs));
            for (block, (x, value)) in halves.enumerate() {
                arch.dispatch(|| of_block(block).apply(x, value));
            }
        });
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let [x, factor] = take(saved.iter().copied());
        let [grad, log_det_grad] = take(grads.iter().copied());
        let [x_grad, factor_grad] = take(input_grads);
        let [samples, blocks, pairs] = self.sizes();
        let of_block = |block| Block::of(factor, block, pairs);
        let sample = blocks * 2 * pairs;
        let arch = Arch::new();
        parallel_chunks(x_grad, sample, |n, x_grad| {
            let grad = &grad[n * sample..][..sample];
            let halves = grad
                .chunks_exact(2 * pairs)
                .zip(x_grad.chunks_exact_mut(2 * pairs));
            for (block, (grad, x_grad)) in halves.enumerate() {
                arch.dispatch(|| of_block(block).transposed().apply(grad, x_grad));
            }
        });
        let log_dets: f64 = log_det_grad.iter().map(|l| l.to_f64()).sum();
        parallel_chunks(factor_grad, pairs, |row, made| {
            let (block, input, output) = (row / 4, row / 2 % 2, row % 2);
            let numbers = of_block(block);
            // the entry across, and its sign
            let (opposite, sign) = match (input, output) {
                (0, 0) => (numbers.d, 1.0),
                (0, _) => (numbers.b, -1.0),
                (_, 0) => (numbers.c, -1.0),
                _ => (numbers.a, 1.0),
            };
            let mut sums: Vec<f64> = (0..pairs)
                .map(|p| log_dets * sign * opposite[p].to_f64() / numbers.determinant(p))
                .collect();
            for n in 0..samples {
                let half = |of: usize| (n * blocks + block) * 2 * pairs + of * pairs;
                let (x, grad) = (&x[half(input)..][..pairs], &grad[half(output)..][..pairs]);
                arch.dispatch(|| {
                    for ((sum, x), grad) in sums.iter_mut().zip(x).zip(grad) {
                        *sum += x.to_f64() * grad.to_f64();
                    }
                });
            }
            for (made, sum) in made.iter_mut().zip(sums) {
                *made = T::from_f64(sum);
            }
        });
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(gpu::forward(take(inputs))?.into())
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(gpu::backward(take(saved), take(grads))?.into())
    }
}
