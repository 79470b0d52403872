//! Affine couplings of other published flows.

use super::check::{same_channels, Placement};
use super::{sum_per_sample, Cx, Mapped, Transform};
use crate::nn::{Conditioner, Precision};
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, Tensor};

/// How an [`AffineCoupling`] reads a scale and a shift from the channels of its net's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AffineForm {
    /// `m, s` are the first and second half: `z2 = x2 sigmoid(s + 2) + m`.
    Sigmoid,
    /// `t, s` are the even and odd channels: `z2 = (x2 + t) sigmoid(s + 2)`.
    ShiftedSigmoid,
    /// `m, s` are the even and odd channels: `z2 = (x2 - m) exp(-s)`, which turns `N(m, exp(2s))` into `N(0, 1)`.
    Gaussian,
}

/// Affine coupling between two parts of the channels that need not be halves.
///
/// ```text
/// x = (x1, x2),   z = (x1, x2 exp(log_s) + t),   log-det = sum log_s
/// ```
///
/// Where `log_s` and `t` come from `net(x1)` in the way of an [`AffineForm`]; the net has two outputs for each channel
/// of `x2`. The common backbone of all flows has [`Coupling`](super::Coupling) instead.
///
/// Variables: those of the net, under `net`.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`. One evaluation of the net in both directions.
///
/// Source: Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, 2017, <https://arxiv.org/abs/1605.08803>.
#[derive(Debug)]
pub struct AffineCoupling {
    /// Channels of `x1` and of `x2`.
    parts: [i64; 2],
    form: AffineForm,
    net: Box<dyn Conditioner>,
    placement: Placement,
}

/// What the net says about the second part.
struct Affine {
    log_scale: Tensor,
    shift: Tensor,
    /// The shift is added before the scale is applied.
    shift_first: bool,
}

impl AffineCoupling {
    /// Coupling whose first `parts[0]` channels condition the other `parts[1]`.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty part, and what `net` reports.
    pub fn new<N: Conditioner + 'static>(
        vs: &nn::Path,
        parts: [i64; 2],
        form: AffineForm,
        net: impl FnOnce(&nn::Path, i64, i64) -> Result<N>,
    ) -> Result<Self> {
        if parts.iter().any(|&part| part < 1) {
            return Err(Error::config(format!(
                "a coupling needs at least one channel in each of its parts, got {} and {}: squeeze first",
                parts[0], parts[1]
            )));
        }
        Ok(Self {
            parts,
            form,
            net: Box::new(net(&(vs / "net"), parts[0], 2 * parts[1])?),
            placement: Placement::in_path(vs),
        })
    }

    fn channels(&self) -> i64 {
        self.parts[0] + self.parts[1]
    }

    fn split(&self, x: &Tensor, cx: Cx<'_>) -> Result<(Tensor, Tensor)> {
        let [n, ..] = self
            .placement
            .check_channels("coupling", self.channels(), x)?;
        self.placement
            .check_condition("coupling", n, cx.condition)?;
        let [first, second] = self.parts;
        Ok((x.f_narrow(1, 0, first)?, x.f_narrow(1, first, second)?))
    }

    fn affine(&self, x1: &Tensor, cx: Cx<'_>) -> Result<Affine> {
        let out = self.net.forward(x1, cx.condition)?;
        let (count, size) = (self.parts[1], x1.size());
        let nchw = [size[0], 2 * count, size[2], size[3]];
        let out = self.placement.check_net("coupling", out, nchw)?;
        let (a, b) = match self.form {
            AffineForm::Sigmoid => (out.f_narrow(1, 0, count)?, out.f_narrow(1, count, count)?),
            _ => (
                out.f_slice(1, 0, None::<i64>, 2)?,
                out.f_slice(1, 1, None::<i64>, 2)?,
            ),
        };
        // log(sigmoid) would underflow where log-sigmoid does not
        let log_sigmoid = |s: &Tensor| s.f_add_scalar(2.0)?.f_log_sigmoid();
        Ok(match self.form {
            AffineForm::Sigmoid => Affine {
                log_scale: log_sigmoid(&b)?,
                shift: a,
                shift_first: false,
            },
            AffineForm::ShiftedSigmoid => Affine {
                log_scale: log_sigmoid(&b)?,
                shift: a,
                shift_first: true,
            },
            AffineForm::Gaussian => Affine {
                log_scale: b.f_neg()?,
                shift: a.f_neg()?,
                shift_first: true,
            },
        })
    }
}

impl Affine {
    fn forward(&self, x2: &Tensor) -> Result<Tensor> {
        let scale = self.log_scale.f_exp()?;
        Ok(if self.shift_first {
            x2.f_add(&self.shift)?.f_mul(&scale)?
        } else {
            self.shift.f_addcmul(x2, &scale)?
        })
    }

    fn inverse(&self, z2: &Tensor) -> Result<Tensor> {
        let scale = self.log_scale.f_neg()?.f_exp()?;
        Ok(if self.shift_first {
            z2.f_mul(&scale)?.f_sub(&self.shift)?
        } else {
            z2.f_sub(&self.shift)?.f_mul(&scale)?
        })
    }
}

impl Transform for AffineCoupling {
    fn name(&self) -> &'static str {
        "coupling"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let (x1, x2) = self.split(x, cx)?;
        let affine = self.affine(&x1, cx)?;
        Ok(Mapped {
            value: Tensor::f_cat(&[&x1, &affine.forward(&x2)?], 1)?,
            log_det: sum_per_sample(&affine.log_scale)?,
        })
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let (z1, z2) = self.split(z, cx)?;
        let affine = self.affine(&z1, cx)?;
        Ok(Mapped {
            value: Tensor::f_cat(&[&z1, &affine.inverse(&z2)?], 1)?,
            log_det: sum_per_sample(&affine.log_scale)?.f_neg()?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("coupling", self.channels(), chw)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.net.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        let form = match self.form {
            AffineForm::Sigmoid => "sigmoid",
            AffineForm::ShiftedSigmoid => "shifted_sigmoid",
            AffineForm::Gaussian => "gaussian",
        };
        Script::new(
            "AffineCoupling",
            include_str!("affine_coupling.torchscript.py"),
        )
        .with("kept", self.parts[0])
        .with("form", form)
        .with_child("net", self.net.torchscript())
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        let (x1, _) = self.split(x, cx)?;
        tch::no_grad(|| self.net.initialize(&x1, cx.condition))
    }
}
