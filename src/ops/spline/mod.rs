//! Monotone rational-quadratic spline with identity tails, element by element: one pass forward, one pass backward.
//!
//! | file | idea |
//! |---|---|
//! | [`mod@reference`] | the definition in plain tensor operations: the twin of the kernels, and their second derivative |
//! | `knots` | raw numbers to knots, and the gradient back: a few numbers, in double precision |
//! | `lanes`, `cpu` | a few elements at a time, and the passes over all of them, on the CPU |
//! | `kernels` | the kernels of a device as functions of tensors |

mod cpu;
mod kernels;
mod knots;
mod lanes;
pub mod reference;

use super::form::is_eager;
use super::{recorded_gradients, Direction};
use crate::ffi::{apply, grad_enabled, CustomFn, Saved};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Smallest width and height of a bin, as a fraction of `2 tail`, and smallest derivative at a knot.
pub const MIN: f64 = 1e-3;

/// What a spline is made of: unconstrained numbers, `P` sets of them.
#[derive(Debug, Clone, Copy)]
pub struct RawSpline<'a> {
    /// `[P, bins]`; their softmax gives the widths.
    pub widths: &'a Tensor,
    /// `[P, bins]`; their softmax gives the heights.
    pub heights: &'a Tensor,
    /// `[P, bins - 1]`; softplus gives the derivatives at the inner knots, 0 standing for 1.
    pub derivatives: &'a Tensor,
    /// The spline is the identity outside `[-tail, tail]`.
    pub tail: f64,
}

/// What a raw derivative of 0 is shifted by, so that it stands for the derivative 1.
pub(crate) fn derivative_offset() -> f64 {
    (1.0 - MIN).exp_m1().ln()
}

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
    Sizes::check(x, raw)?;
    if is_eager() {
        return reference::spline(x, raw, direction);
    }
    let function = Fused {
        tail: raw.tail,
        direction,
    };
    let outputs = apply(function, &[x, raw.widths, raw.heights, raw.derivatives])?;
    <[Tensor; 2]>::try_from(outputs)
        .map(|[value, log_det]| (value, log_det))
        .map_err(|_| Error::Torch("a spline has two outputs".into()))
}

/// Sizes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Samples N.
    pub samples: usize,
    /// Elements D of a sample.
    pub elements: usize,
    /// Bins, tails not counted.
    pub bins: usize,
    /// One set of numbers for all elements, else one for each of the D.
    pub shared: bool,
}

impl Sizes {
    /// Sizes of a call whose arguments fit together.
    ///
    /// # Errors
    /// [`Error::Argument`] that names the argument, what was expected and what was got.
    pub fn check(x: &Tensor, raw: &RawSpline<'_>) -> Result<Self> {
        let wrong = |arg, text: String| Err(Error::argument("spline", arg, text));
        let options = (x.kind(), x.device());
        if !matches!(options.0, Kind::Float | Kind::Double) {
            return wrong(
                "x",
                format!("must be float32 or float64, got {:?}", options.0),
            );
        }
        let (size, widths) = (x.size(), raw.widths.size());
        let Some((&samples, sample)) = size.split_first() else {
            return wrong("x", "must be [N, ...], got a scalar".into());
        };
        let elements: i64 = sample.iter().product();
        let [sets, bins] = widths[..] else {
            return wrong("widths", format!("must be [P, bins], got {widths:?}"));
        };
        if !(1..=500).contains(&bins) {
            return wrong("widths", format!("must have 1 to 500 bins, got {bins}"));
        }
        if sets != 1 && sets != elements {
            return wrong(
                "widths",
                format!("must have 1 set of numbers, or {elements} as a sample has elements, got {sets}"),
            );
        }
        if !(raw.tail > 0.0 && raw.tail.is_finite()) {
            return wrong(
                "tail",
                format!("must be a positive number, got {}", raw.tail),
            );
        }
        for (arg, tensor, expected) in [
            ("widths", raw.widths, bins),
            ("heights", raw.heights, bins),
            ("derivatives", raw.derivatives, bins - 1),
        ] {
            let got = (tensor.kind(), tensor.device());
            if tensor.size() != [sets, expected] || got != options {
                return wrong(
                    arg,
                    format!(
                        "must be {:?} {:?} on {:?}, got {:?} {:?} on {:?}",
                        [sets, expected],
                        options.0,
                        options.1,
                        tensor.size(),
                        got.0,
                        got.1
                    ),
                );
            }
        }
        Ok(Self {
            samples: samples as usize,
            elements: elements as usize,
            bins: bins as usize,
            shared: sets == 1,
        })
    }

    /// Sets of numbers P.
    pub fn sets(&self) -> usize {
        if self.shared {
            1
        } else {
            self.elements
        }
    }
}

/// One call in the autograd graph.
///
/// With `L` the loss, `f` the spline and `l` the gradient of the log-det, the forward direction is differentiated as it
/// stands. In the inverse direction `x` solves `f(x, θ) = z` and the log-det is `-Σ log f'`, so
///
/// ```text
/// a = dL/dx - l d(log f')/dx,   dL/dz = a / f',   dL/dθ = -(a / f') df/dθ - l d(log f')/dθ
/// ```
///
/// which is the forward direction's gradient of θ for the incoming gradients `-a / f'` and `-l`, at the solution.
struct Fused {
    tail: f64,
    direction: Direction,
}

impl Fused {
    fn raw<'a>(&self, tensors: &'a [Tensor]) -> RawSpline<'a> {
        RawSpline {
            widths: &tensors[0],
            heights: &tensors[1],
            derivatives: &tensors[2],
            tail: self.tail,
        }
    }
}

impl CustomFn for Fused {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let raw = self.raw(&inputs[1..]);
        let sizes = Sizes::check(&inputs[0], &raw)?;
        let call = kernels::Call::new(&raw, &sizes, self.direction)?;
        let [value, log_det] = call.forward(&inputs[0])?;
        inputs.iter().for_each(|input| saved.save(input));
        if self.direction == Direction::Inverse {
            saved.save(&value);
        }
        Ok(vec![value, log_det])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        if grad_enabled() {
            let outputs = reference::spline(&saved[0], &self.raw(&saved[1..4]), self.direction)?;
            return recorded_gradients(&<[Tensor; 2]>::from(outputs), grads, saved, needs);
        }
        let raw = self.raw(&saved[1..4]);
        let sizes = Sizes::check(&saved[0], &raw)?;
        let at = saved.get(4).unwrap_or(&saved[0]);
        let call = kernels::Call::new(&raw, &sizes, self.direction)?;
        let gradients = call.backward(at, grads[0].as_ref(), grads[1].as_ref())?;
        Ok(gradients
            .into_iter()
            .zip(needs)
            .map(|(g, &need)| need.then_some(g))
            .collect())
    }
}
