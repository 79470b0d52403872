//! How an inverse that iterates goes about it, and when it is there.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// How a [`MaskedResidual`](super::MaskedResidual) is inverted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedPoint {
    /// Every step is divided by this; above 1/2 the iteration converges near the solution, larger is more careful.
    pub damping: f64,
    /// Steps after which the inverse gives up.
    pub iterations: u32,
    /// Largest `|z - f(x)| / (1 + |z|)` of an inverse in float32; float64 asks for a millionth of it.
    pub tolerance: f64,
}

impl Default for FixedPoint {
    fn default() -> Self {
        Self {
            damping: 1.1,
            iterations: 100,
            tolerance: 1e-5,
        }
    }
}

impl FixedPoint {
    pub(super) fn check(&self) -> Result<()> {
        let fine = self.damping > 0.5 && self.damping.is_finite() && self.tolerance > 0.0;
        if !fine || self.iterations == 0 {
            return Err(Error::config(format!(
                "the fixed-point inverse needs a `damping` above 0.5 (1.1 is usual), 1 or more `iterations` and a \
                 positive `tolerance`, got {self:?}"
            )));
        }
        Ok(())
    }

    pub(super) fn tolerance(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Double => 1e-6 * self.tolerance,
            _ => self.tolerance,
        }
    }
}

/// Largest magnitude, 0 for an empty tensor, NaN if there is one.
pub(super) fn largest(x: &Tensor) -> Result<f64> {
    if x.numel() == 0 {
        return Ok(0.0);
    }
    Ok(x.f_abs()?.f_max()?.f_double_value(&[])?)
}
