//! Helper networks: what the couplings are conditioned by. Nothing here has to be invertible.

mod conv;
mod coupling_net;
mod first_batch;
mod norm_net;
mod stack;
mod weight_norm;

pub use conv::{Conv2d, Conv2dZero};
pub use coupling_net::{CouplingConfig, CouplingNet, Net};
pub(crate) use first_batch::{FirstBatch, Moments};
pub use norm_net::{norm_net, TwiceBiasedConv2dZero};
pub use stack::{Activation, Stack};
pub use weight_norm::{weight_norm_net, WeightNorm};

use crate::script::Script;
use crate::{Error, Result};
use tch::Tensor;

/// A network from `[N, C, H, W]` to `[N, C', H, W]`, differentiable, without any constraint.
pub trait Conditioner: std::fmt::Debug + Send {
    /// Evaluates the network.
    ///
    /// # Errors
    /// A shape, kind or device that the parameters do not fit.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// The network in TorchScript, its variables being attributes of the names they have here.
    fn script(&self) -> Script;

    /// The scripts of the layers that a net puts activations between: this one, if it is not several.
    fn layers(&self) -> Vec<Script> {
        vec![self.script()]
    }

    /// Data-dependent initialisation from a first batch at the network's input. Idempotent; most networks have
    /// nothing to do.
    ///
    /// # Errors
    /// As `forward`.
    fn initialize(&mut self, _x: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// `width` of a coupling's net, if it makes a net.
fn check_width(width: i64) -> Result<i64> {
    if width >= 1 {
        return Ok(width);
    }
    Err(Error::config(format!(
        "`width`, the hidden channels of a coupling, must be 1 or more, got {width}"
    )))
}
