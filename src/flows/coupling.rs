//! Affine coupling.

use super::check::{same_channels, Placement};
use super::{Cx, Mapped, Transform};
use crate::nn::{Conditioner, Precision};
use crate::ops::channels::first_channels;
use crate::ops::coupling::{affine_coupling, AffineForm};
use crate::ops::Direction;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, Tensor};

/// Affine coupling: one half of the channels is scaled and shifted by a function of the other.
///
/// ```text
/// x = (x1, x2),  raw, t = even and odd channels of net(x1),  log_s = 2 tanh(raw / 2)
/// z = (x1, x2 exp(log_s) + t),   log-det = sum log_s
/// ```
///
/// The element-wise part is one operation, [`affine_coupling`]. The scale stays within `e^-2..e^2`, so a wild net cannot overflow it. The net has C outputs for C/2 inputs.
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

impl Coupling {
    /// Coupling over `channels` channels, conditioned by `net(path, inputs, outputs)`: a net of [`nn`](crate::nn), any
    /// `tch::nn::Module`, a closure as `tch::nn::func(...)`, or as [`conditional`](crate::nn::conditional) one that takes
    /// the condition of the call.
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

    fn map(&self, x: &Tensor, cx: Cx<'_>, direction: Direction) -> Result<Mapped> {
        let (x, x1) = self.with_first_half(x, cx)?;
        let net = self.net.forward(&x1, cx.condition)?;
        let (value, log_det) = affine_coupling(&x, &net, AffineForm::Bounded, direction)?;
        Ok(Mapped { value, log_det })
    }

    fn with_first_half(&self, x: &Tensor, cx: Cx<'_>) -> Result<(Tensor, Tensor)> {
        let [n, ..] = self
            .placement
            .check_channels("coupling", self.channels, x)?;
        self.placement
            .check_condition("coupling", n, cx.condition)?;
        first_channels(x, self.channels / 2)
    }
}

/// How the text of an affine coupling changes for a net that sees the class of each image.
pub(super) const AFFINE_OF_CLASS: &[(&str, &str, usize)] = &[
    (
        "affine(self, x1: Tensor)",
        "affine(self, x1: Tensor, c: Tensor)",
        1,
    ),
    ("self.affine(x1)", "self.affine(x1, c)", 2),
    ("self.net.forward(x1)", "self.net.forward(x1, c)", 1),
];

impl Transform for Coupling {
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
        same_channels("coupling", self.channels, chw)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.net.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        Script::new("Coupling", include_str!("coupling.torchscript.py")).with_net(
            "net",
            self.net.torchscript(),
            AFFINE_OF_CLASS,
        )
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        let (_, x1) = self.with_first_half(x, cx)?;
        tch::no_grad(|| self.net.initialize(&x1, cx.condition))
    }
}
