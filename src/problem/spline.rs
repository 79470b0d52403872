//! A call of the spline: its raw numbers, its sizes, its constants.

use crate::words::{device, dtype};
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
pub fn derivative_offset() -> f64 {
    (1.0 - MIN).exp_m1().ln()
}

/// Sizes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplineSizes {
    /// Samples N.
    pub samples: usize,
    /// Elements D of a sample.
    pub elements: usize,
    /// Bins, tails not counted.
    pub bins: usize,
    /// One set of numbers for all elements, else one for each of the D.
    pub shared: bool,
}

impl SplineSizes {
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
                format!("must be float32 or float64, got {}", dtype(options.0)),
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
                        "must be {:?} {} on {}, got {:?} {} on {}",
                        [sets, expected],
                        dtype(options.0),
                        device(options.1),
                        tensor.size(),
                        dtype(got.0),
                        device(got.1)
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
