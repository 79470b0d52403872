//! The contract of the nets inside couplings.

use super::Precision;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, Tensor};

/// A network from `[N, C, H, W]` to `[N, C', H, W]`, differentiable, without any constraint.
///
/// Every [`tch::nn::Module`] is one: a `tch::nn::seq()`, or a closure as `tch::nn::func(|x| ...)`. A closure that takes a
/// condition as well is [`conditional`](super::conditional).
pub trait Conditioner: std::fmt::Debug + Send {
    /// Evaluates the network, in the kind of `x`, under a condition `[N, F]` if the call has one. A network without use for it ignores it.
    ///
    /// # Errors
    /// A shape, kind or device that the parameters do not fit; no condition where one is needed.
    fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor>;

    /// What the network computes in from now on.
    ///
    /// # Errors
    /// A precision that it cannot compute in. Without this method, as in a net made with tch, that is any but float32, which
    /// stands for the kind of its parameters.
    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        match precision {
            Precision::Float32 => Ok(()),
            other => Err(Error::config(format!(
                "{} computes in the kind of its parameters and not in {other}: leave the precision at float32, or use a net of \
                 `inverse_flow::nn`",
                std::any::type_name::<Self>()
            ))),
        }
    }

    /// The network in TorchScript, its variables being attributes of the names they have here.
    ///
    /// # Errors
    /// [`Error::NoTorchScript`] of a network that has none, which is the default.
    fn torchscript(&self) -> Result<Script> {
        Err(Error::no_torchscript(std::any::type_name::<Self>()))
    }

    /// The scripts of the layers that a net puts activations between: this one, if it is not several.
    ///
    /// # Errors
    /// As [`torchscript`](Conditioner::torchscript).
    fn layers(&self) -> Result<Vec<Script>> {
        Ok(vec![self.torchscript()?])
    }

    /// Data-dependent initialisation from a first batch at the network's input. Idempotent; most networks have
    /// nothing to do.
    ///
    /// # Errors
    /// As `forward`.
    fn initialize(&mut self, _x: &Tensor, _condition: Option<&Tensor>) -> Result<()> {
        Ok(())
    }
}

/// The condition is ignored, and a panic of the module is its own.
impl<M: nn::Module> Conditioner for M {
    fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> Result<Tensor> {
        Ok(nn::Module::forward(self, x))
    }
}

/// `width` of a coupling's net, if it makes a net.
pub(super) fn check_width(width: i64) -> Result<i64> {
    if width >= 1 {
        return Ok(width);
    }
    Err(Error::config(format!(
        "`width`, the hidden channels of a coupling, must be 1 or more, got {width}"
    )))
}
