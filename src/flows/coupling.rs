//! Affine coupling.

use super::check::{same_channels, Placement};
use super::{sum_per_sample, Cx, Mapped, Transform};
use crate::nn::Conditioner;
use crate::{Error, Result};
use tch::{nn, Tensor};

/// Affine coupling: one half of the channels is scaled and shifted by a function of the other.
///
/// ```text
/// x = (x1, x2),  raw, t = even and odd channels of net(x1),  log_s = 2 tanh(raw / 2)
/// z = (x1, x2 exp(log_s) + t),   log-det = sum log_s
/// ```
///
/// The scale stays within `e^-2..e^2`, so a wild net cannot overflow it. The net has C outputs for C/2 inputs.
///
/// Variables: those of the net, under `net`.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`, even C. One evaluation of the net in both directions.
///
/// Source: Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, 2017, <https://arxiv.org/abs/1605.08803>.
#[derive(Debug)]
pub struct Coupling {
    channels: i64,
    net: Box<dyn Conditioner>,
    placement: Placement,
}

/// What the net says about one half.
struct Affine {
    log_scale: Tensor,
    shift: Tensor,
}

impl Coupling {
    /// Coupling over `channels` channels, conditioned by `net(path, inputs, outputs)`.
    ///
    /// # Errors
    /// [`Error::Config`] for an odd number of channels, and what `net` reports.
    pub fn new<N: Conditioner + 'static>(
        vs: &nn::Path,
        channels: i64,
        net: impl FnOnce(&nn::Path, i64, i64) -> Result<N>,
    ) -> Result<Self> {
        if channels < 2 || channels % 2 != 0 {
            return Err(Error::config(format!(
                "a coupling needs an even number of channels to halve, got {channels}: squeeze first"
            )));
        }
        Ok(Self {
            channels,
            net: Box::new(net(&(vs / "net"), channels / 2, channels)?),
            placement: Placement::in_path(vs),
        })
    }

    fn halves(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        self.placement
            .check_channels("coupling", self.channels, x)?;
        let half = self.channels / 2;
        Ok((x.f_narrow(1, 0, half)?, x.f_narrow(1, half, half)?))
    }

    fn affine(&self, x1: &Tensor) -> Result<Affine> {
        let out = self.net.forward(x1)?;
        let raw = out.f_slice(1, 0, None::<i64>, 2)?;
        Ok(Affine {
            log_scale: raw.f_mul_scalar(0.5)?.f_tanh()?.f_mul_scalar(2.0)?,
            shift: out.f_slice(1, 1, None::<i64>, 2)?,
        })
    }
}

impl Transform for Coupling {
    fn name(&self) -> &'static str {
        "coupling"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let (x1, x2) = self.halves(x)?;
        let Affine { log_scale, shift } = self.affine(&x1)?;
        let z2 = shift.f_addcmul(&x2, &log_scale.f_exp()?)?;
        Ok(Mapped {
            value: Tensor::f_cat(&[&x1, &z2], 1)?,
            log_det: sum_per_sample(&log_scale),
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let (z1, z2) = self.halves(z)?;
        let Affine { log_scale, shift } = self.affine(&z1)?;
        let x2 = z2.f_sub(&shift)?.f_mul(&log_scale.f_neg()?.f_exp()?)?;
        Ok(Mapped {
            value: Tensor::f_cat(&[&z1, &x2], 1)?,
            log_det: sum_per_sample(&log_scale).f_neg()?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("coupling", self.channels, chw)
    }
}
