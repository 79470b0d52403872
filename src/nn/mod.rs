//! Helper networks: what the couplings are conditioned by. Nothing here has to be invertible.

mod conv;
mod coupling_net;

pub use conv::{Conv2d, Conv2dZero};
pub use coupling_net::{CouplingConfig, CouplingNet, Net};

use crate::Result;
use tch::Tensor;

/// A network from `[N, C, H, W]` to `[N, C', H, W]`, differentiable, without any constraint.
pub trait Conditioner: std::fmt::Debug + Send {
    /// Evaluates the network.
    ///
    /// # Errors
    /// A shape, kind or device that the parameters do not fit.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}
