//! Monotone rational-quadratic spline with identity tails, element by element: one pass forward, one pass backward.
//!
//! | file | idea |
//! |---|---|
//! | [`mod@reference`] | the definition in plain tensor operations: the twin of the kernels, and their second derivative |
//! | `knots` | raw numbers to knots, and the gradient back: a few numbers, in double precision |
//! | `lanes`, `cpu` | a few elements at a time, and the passes over all of them, on the CPU |

mod cpu;
mod knots;
mod lanes;
pub mod reference;

use super::fused::{run, take, FusedOp};
use crate::cuda::spline as gpu;
use crate::ops::vector::Real;
use crate::problem::Direction;
use crate::{Error, Result};
use tch::Tensor;

pub use crate::problem::spline::{RawSpline, SplineSizes, MIN};

/// Applies the spline, or its inverse, to every element; returns the value and `log|det|` of the map taken.
///
/// In the bin `[x0, x0 + w]` → `[y0, y0 + h]` with derivatives `d0`, `d1` at its ends, slope `s = h / w` and
/// `u = (x - x0) / w`, `v = u (1 - u)`, `P = d0 / s`, `Q = d1 / s`:
///
/// ```text
/// y     = y0 + h (u^2 + P v) / (1 + (P + Q - 2) v)
/// dy/dx = s (P (1 - u)^2 + 2 v + Q u^2) / (1 + (P + Q - 2) v)^2
/// ```
///
/// # Shapes
/// `x` `[N, ...]` with `D` elements a sample, P = 1 or P = D → `[N, ...]` and `[N]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact, of the element, the raw numbers and the log-det alike, in both directions; second derivatives are those of
/// [`mod@reference`]. Results are bit-identical from run to run on one device, for any number of threads.
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
///
/// # Source
/// Durkan, Bekasov, Murray, Papamakarios, *Neural spline flows*, 2019, <https://arxiv.org/abs/1906.04032>.
pub fn spline(x: &Tensor, raw: &RawSpline<'_>, direction: Direction) -> Result<(Tensor, Tensor)> {
    let call = SplineCall {
        sizes: SplineSizes::check(x, raw)?,
        tail: raw.tail,
        direction,
    };
    let [value, log_det] = take(run(call, &[x, raw.widths, raw.heights, raw.derivatives])?);
    Ok((value, log_det))
}

/// One call.
///
/// With `L` the loss, `f` the spline and `l` the gradient of the log-det, the forward direction is differentiated as it
/// stands. In the inverse direction `x` solves `f(x, θ) = z` and the log-det is `-Σ log f'`, so
///
/// ```text
/// a = dL/dx - l d(log f')/dx,   dL/dz = a / f',   dL/dθ = -(a / f') df/dθ - l d(log f')/dθ
/// ```
///
/// which is the forward direction's gradient of θ for the incoming gradients `-a / f'` and `-l`, at the solution.
struct SplineCall {
    sizes: SplineSizes,
    tail: f64,
    direction: Direction,
}

impl SplineCall {
    fn on_gpu<'a>(&self, raw: &'a [Tensor]) -> gpu::SplineOnGpu<'a> {
        gpu::SplineOnGpu {
            sizes: self.sizes,
            direction: self.direction,
            tail: self.tail,
            raw,
        }
    }
}

impl FusedOp for SplineCall {
    const NAME: &'static str = "spline";

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        vec![inputs[0].size(), vec![self.sizes.samples as i64]]
    }

    /// The solution, at which the inverse direction is differentiated.
    fn kept_outputs(&self) -> &'static [usize] {
        match self.direction {
            Direction::Forward => &[],
            Direction::Inverse => &[0],
        }
    }

    fn takes(&self, _x: &Tensor) -> bool {
        true
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let [x, widths, heights, derivatives] = take(inputs.iter().copied());
        let raw = RawSpline {
            widths,
            heights,
            derivatives,
            tail: self.tail,
        };
        let (value, log_det) = reference::spline(x, &raw, self.direction)?;
        Ok(vec![value, log_det])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let [x, raw @ ..]: [_; 4] = take(inputs.iter().copied());
        let [value, log_det] = take(outputs);
        let spline = cpu::KnottedSpline::new(&self.sizes, self.direction, self.tail, raw);
        spline.forward(x, value, log_det);
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let (inputs, kept) = saved.split_at(4);
        let [x, raw @ ..]: [_; 4] = take(inputs.iter().copied());
        let at = kept.first().copied().unwrap_or(x);
        let [x_grad, raw_grads @ ..]: [_; 4] = take(input_grads);
        let spline = cpu::KnottedSpline::new(&self.sizes, self.direction, self.tail, raw);
        spline.backward(at, take(grads.iter().copied()), x_grad, raw_grads);
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let call = self.on_gpu(&inputs[1..]);
        Ok(call.forward(&inputs[0])?.into())
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        let call = self.on_gpu(&saved[1..4]);
        // the inputs, the solution in the inverse direction, the table
        let (at, table) = match saved {
            [x, _, _, _, table] => (x, table),
            [_, _, _, _, solution, table] => (solution, table),
            _ => return Err(Error::Cuda("expected the table of the forward pass".into())),
        };
        Ok(call.backward(at, table, [&grads[0], &grads[1]])?.into())
    }
}
