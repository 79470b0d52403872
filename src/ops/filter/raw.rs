//! What filters are made of, and what is made of it.

use crate::words::{counted, dtype};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// What one filter is made of.
#[derive(Debug, Clone, Copy)]
pub struct RawFilter<'a> {
    /// `[C, n, k, k]`: free parameters.
    pub theta: &'a Tensor,
    /// Like theta: 1 where it is a tap, 0 where it is not or is the diagonal.
    pub mask: &'a Tensor,
    /// Like theta: 1 on the diagonal, 0 elsewhere; one in each of the C rows.
    pub identity: &'a Tensor,
    /// `[C]`, int32: where in each row that is.
    pub diagonal: &'a Tensor,
    /// Whether the diagonal is `exp(theta)`, else 1.
    pub learnable: bool,
    /// The other taps of an output sum to less than this part of its diagonal; `None` for no bound.
    pub bound: Option<f64>,
}

/// A filter that [`inv_conv2d`](crate::ops::inv_conv2d) takes.
#[derive(Debug)]
pub struct EffectiveFilter {
    /// `[C, n, k, k]`.
    pub weight: Tensor,
    /// Sum of the logarithms of the diagonal, 0-d; `None` where the diagonal is 1.
    pub log_diagonal: Option<Tensor>,
}

impl RawFilter<'_> {
    /// Checks that the tensors fit together, and are of the dtype and on the device of `first`.
    ///
    /// # Errors
    /// [`Error::Argument`] that names the argument, what was expected and what was got.
    pub(super) fn check(&self, first: &Tensor) -> Result<()> {
        let wrong = |arg, text: String| Err(Error::argument("effective_filters", arg, text));
        let theta = self.theta;
        if !matches!(theta.kind(), Kind::Float | Kind::Double) {
            let text = format!("must be float32 or float64, got {}", dtype(theta.kind()));
            return wrong("theta", text);
        }
        let size = theta.size();
        if size.len() != 4 || size[2] != size[3] {
            return wrong("theta", format!("must be [C, n, k, k], got {size:?}"));
        }
        let facts = |t: &Tensor| (t.size(), t.kind(), t.device());
        if (theta.kind(), theta.device()) != (first.kind(), first.device()) {
            let text = "must have the dtype and the device of the first layer's".into();
            return wrong("theta", text);
        }
        for (arg, tensor) in [("mask", self.mask), ("identity", self.identity)] {
            if facts(tensor) != facts(theta) {
                let text = format!(
                    "must be like `theta` {:?}, got {:?}",
                    facts(theta),
                    facts(tensor)
                );
                return wrong(arg, text);
            }
        }
        if facts(self.diagonal) != (vec![size[0]], Kind::Int, theta.device()) {
            let text = format!(
                "must be int32 and have one place for each of {}, got {:?}",
                counted(size[0], "channel"),
                facts(self.diagonal)
            );
            return wrong("diagonal", text);
        }
        Ok(())
    }
}
