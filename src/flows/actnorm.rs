//! Per-channel affine map whose first batch comes out standardised.

use super::check::{same_channels, Placement};
use super::{Cx, Mapped, Transform};
use crate::nn::{FirstBatch, Moments};
use crate::ops::actnorm::actnorm;
use crate::ops::Direction;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, nn::Init, Tensor};

/// Activation normalisation.
///
/// ```text
/// z[n,c,h,w] = (x[n,c,h,w] - loc[c]) exp(-log_scale[c]),   log-det = -H W sum_c log_scale[c]
/// ```
///
/// [`initialize`](Transform::initialize) sets `loc` and `log_scale` to the mean and the logarithm of the (unbiased)
/// standard deviation of a first batch, once; from then on they are ordinary parameters. A channel that is constant
/// in that batch keeps the scale 1: a border that has been black so far must not amplify its first grey pixel.
///
/// Variables: `loc` `[C]`, `log_scale` `[C]`, and the buffer `initialized` (one boolean), which is saved with them. A
/// loaded layer is ready without a batch.
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug)]
pub struct ActNorm {
    channels: i64,
    loc: Tensor,
    log_scale: Tensor,
    first: FirstBatch,
    placement: Placement,
}

impl ActNorm {
    /// ActNorm over `channels` channels, not initialised.
    ///
    /// # Errors
    /// [`Error::Config`] for no channels.
    pub fn new(vs: &nn::Path, channels: i64) -> Result<Self> {
        if channels < 1 {
            return Err(Error::config(format!(
                "actnorm needs at least one channel, got {channels}"
            )));
        }
        let loc = vs.f_var("loc", &[channels], Init::Const(0.0))?;
        let log_scale = vs.f_var("log_scale", &[channels], Init::Const(0.0))?;
        Ok(Self {
            channels,
            placement: Placement::in_path(vs),
            loc,
            log_scale,
            first: FirstBatch::new(vs, "actnorm")?,
        })
    }

    /// Whether a first batch has been seen, in this process or by whoever saved the parameters.
    ///
    /// # Errors
    /// What libtorch reports when the flag cannot be read.
    pub fn is_initialized(&self) -> Result<bool> {
        self.first.seen()
    }

    fn check(&self, x: &Tensor) -> Result<[i64; 4]> {
        let nchw = self.placement.check_channels("actnorm", self.channels, x)?;
        self.first.require()?;
        Ok(nchw)
    }

    /// Sets the parameters from a first batch, once, by what `parameters` makes of its mean and standard deviation:
    /// `loc` and `log_scale`.
    pub(super) fn set_from(
        &mut self,
        x: &Tensor,
        parameters: impl FnOnce(Moments) -> Result<[Tensor; 2]>,
    ) -> Result<()> {
        self.placement.check_channels("actnorm", self.channels, x)?;
        if self.is_initialized()? {
            return Ok(());
        }
        tch::no_grad(|| -> Result<()> {
            let [loc, log_scale] = parameters(self.first.moments(x)?)?;
            self.loc.f_copy_(&loc)?;
            self.log_scale.f_copy_(&log_scale)?;
            Ok(())
        })?;
        self.first.set_seen()
    }

    fn map(&self, x: &Tensor, direction: Direction) -> Result<Mapped> {
        self.check(x)?;
        let (value, log_det) = actnorm(x, &self.loc, &self.log_scale, direction)?;
        Ok(Mapped { value, log_det })
    }
}

impl Transform for ActNorm {
    fn name(&self) -> &'static str {
        "actnorm"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.map(x, Direction::Forward)
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.map(z, Direction::Inverse)
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("actnorm", self.channels, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "ActNorm",
            include_str!("actnorm.torchscript.py"),
        ))
    }

    fn initialize(&mut self, x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        self.set_from(x, |Moments { mean, log_std }| Ok([mean, log_std]))
    }
}
