//! Helper networks: what the couplings are conditioned by. Nothing here has to be invertible.

mod conditioner;
mod conv;
mod coupling_net;
mod first_batch;
mod norm_net;
mod stack;
mod weight_norm;

pub use conditioner::Conditioner;
pub use conv::{Conv2d, Conv2dZero};
pub use coupling_net::{CouplingConfig, CouplingNet, Net};
pub(crate) use first_batch::{FirstBatch, Moments};
pub use norm_net::{norm_net, TwiceBiasedConv2dZero};
pub use stack::{Activation, Stack};
pub use weight_norm::{weight_norm_net, WeightNorm};
