//! Affine couplings of other published flows.

use super::check::{same_channels, Placement};
use super::coupling::AFFINE_OF_CLASS;
use super::{Cx, Mapped, Transform};
use crate::nn::{Conditioner, Precision};
use crate::ops::channels::first_channels;
use crate::ops::coupling::{affine_coupling, AffineForm};
use crate::ops::Direction;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, Tensor};

/// Affine coupling between two parts of the channels that need not be halves.
///
/// ```text
/// x = (x1, x2),   z = (x1, x2 exp(log_s) + t),   log-det = sum log_s
/// ```
///
/// Where `log_s` and `t` come from `net(x1)` in the way of an [`AffineForm`]; the net has two outputs for each channel
/// of `x2`. The element-wise part is one operation, [`affine_coupling`]. The common backbone of all flows has [`Coupling`](super::Coupling) instead.
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

    fn with_first_part(&self, x: &Tensor, cx: Cx<'_>) -> Result<(Tensor, Tensor)> {
        let [n, ..] = self
            .placement
            .check_channels("coupling", self.channels(), x)?;
        self.placement
            .check_condition("coupling", n, cx.condition)?;
        first_channels(x, self.parts[0])
    }

    fn map(&self, x: &Tensor, cx: Cx<'_>, direction: Direction) -> Result<Mapped> {
        let (x, x1) = self.with_first_part(x, cx)?;
        let net = self.net.forward(&x1, cx.condition)?;
        let size = x.size();
        let nchw = [size[0], 2 * self.parts[1], size[2], size[3]];
        let net = self.placement.check_net("coupling", net, nchw)?;
        let (value, log_det) = affine_coupling(&x, &net, self.form, direction)?;
        Ok(Mapped { value, log_det })
    }
}

impl Transform for AffineCoupling {
    fn name(&self) -> &'static str {
        "coupling"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.map(x, cx, Direction::Forward)
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.map(z, cx, Direction::Inverse)
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("coupling", self.channels(), chw)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.net.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        let form = match self.form {
            AffineForm::Bounded => "bounded",
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
        .with_net("net", self.net.torchscript(), AFFINE_OF_CLASS)
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        let (_, x1) = self.with_first_part(x, cx)?;
        tch::no_grad(|| self.net.initialize(&x1, cx.condition))
    }
}
