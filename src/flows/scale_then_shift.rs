//! ActNorm the other way round.

use super::{ActNorm, Cx, Mapped, Transform};
use crate::nn::Moments;
use crate::torchscript::Script;
use crate::Result;
use tch::{nn, Tensor};

/// Activation normalisation that scales first and shifts afterwards.
///
/// ```text
/// z[n,c,h,w] = x[n,c,h,w] exp(log_scale[c]) + loc[c],   log-det = H W sum_c log_scale[c]
/// ```
///
/// The same family of maps as [`ActNorm`], of which it is the inverse with the same variables; an optimiser moves through
/// it differently. Its first batch comes out with mean 0 and variance 1, too.
#[derive(Debug)]
pub struct ScaleThenShift(ActNorm);

impl ScaleThenShift {
    /// A layer over `channels` channels, not initialised.
    ///
    /// # Errors
    /// As [`ActNorm::new`].
    pub fn new(vs: &nn::Path, channels: i64) -> Result<Self> {
        Ok(Self(ActNorm::new(vs, channels)?))
    }
}

impl Transform for ScaleThenShift {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.0.inverse(x, cx)
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.0.forward(z, cx)
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        self.0.out_shape(chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "ScaleThenShift",
            include_str!("scale_then_shift.torchscript.py"),
        ))
    }

    fn initialize(&mut self, x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        self.0.set_from(x, |Moments { mean, log_std }| {
            let log_scale = log_std.f_neg()?;
            let loc = mean.f_neg()?.f_mul(&log_scale.f_exp()?)?;
            Ok([loc, log_scale])
        })
    }
}
