//! Per-channel affine map whose first batch comes out standardised.

use super::check::{same_channels, Placement};
use super::{Cx, Mapped, Transform};
use crate::ops::channel_affine::channel_affine;
use crate::ops::Direction;
use crate::{Error, Result};
use std::cell::Cell;
use tch::{nn, nn::Init, Kind, Tensor};

/// A channel whose standard deviation is below this fraction of `1 + |mean|` counts as constant.
const CONSTANT: f64 = 1e-5;

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
/// loaded layer is ready without a batch: the buffer is read at the first use and, once true, never again, because
/// reading it makes a GPU wait.
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug)]
pub struct ActNorm {
    channels: i64,
    loc: Tensor,
    log_scale: Tensor,
    initialized: Tensor,
    /// Whether `initialized` is known to be true. It never turns back, so this cannot go stale.
    ready: Cell<bool>,
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
        let flag = Tensor::f_zeros([0i64; 0], (Kind::Bool, vs.device()))?;
        Ok(Self {
            channels,
            placement: Placement::in_path(vs),
            loc,
            log_scale,
            initialized: vs.add("initialized", flag, false),
            ready: Cell::new(false),
        })
    }

    /// Whether a first batch has been seen, in this process or by whoever saved the parameters.
    ///
    /// # Errors
    /// What libtorch reports when the flag cannot be read.
    pub fn is_initialized(&self) -> Result<bool> {
        if !self.ready.get() {
            let flag = self.initialized.f_double_value(&[])?;
            self.ready.set(flag != 0.0);
        }
        Ok(self.ready.get())
    }

    fn check(&self, x: &Tensor) -> Result<[i64; 4]> {
        let nchw = self.placement.check_channels("actnorm", self.channels, x)?;
        if self.is_initialized()? {
            Ok(nchw)
        } else {
            Err(Error::NotInitialized { layer: "actnorm" })
        }
    }

    fn map(&self, x: &Tensor, direction: Direction) -> Result<Mapped> {
        self.check(x)?;
        let (value, log_det) = channel_affine(x, &self.loc, &self.log_scale, direction)?;
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

    fn initialize(&mut self, x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        let [n, _, h, w] = self.placement.check_channels("actnorm", self.channels, x)?;
        if self.is_initialized()? {
            return Ok(());
        }
        if n * h * w < 2 {
            return Err(Error::argument(
                "actnorm",
                "x",
                format!(
                    "must have at least two values per channel to be standardised, got size {:?}",
                    x.size()
                ),
            ));
        }
        tch::no_grad(|| -> Result<()> {
            let per_channel = x.f_transpose(0, 1)?.f_reshape([self.channels, -1])?;
            let (var, mean) = per_channel.f_var_mean_dim([1i64].as_slice(), true, false)?;
            let std = var.f_sqrt()?;
            let constant = mean.f_abs()?.f_add_scalar(1.0)?.f_mul_scalar(CONSTANT)?;
            let log_scale = std
                .f_log()?
                .f_masked_fill(&std.f_le_tensor(&constant)?, 0.0)?;
            self.loc.f_copy_(&mean)?;
            self.log_scale.f_copy_(&log_scale)?;
            let _ = self.initialized.f_fill_(1i64)?;
            Ok(())
        })?;
        self.ready.set(true);
        Ok(())
    }
}
