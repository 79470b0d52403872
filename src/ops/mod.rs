//! Differentiable operators: the inverse of a convolution, and the convolution itself; and what couplings, splines and
//! normalisations are made of, as one pass forward and one backward.
//!
//! [`inv_conv2d`] and [`masked_conv2d`] go through torch's dispatcher (`inverse_flow::inv_conv2d`,
//! `inverse_flow::masked_conv2d`), so Rust, Python and TorchScript call the same code. Every operator has a twin in plain
//! tensor operations with the same arguments, which is its specification; [`mod@reference`] is that of the first two.

pub mod actnorm;
pub mod butterfly;
pub mod channels;
pub mod conv_relu_conv;
pub mod coupling;
pub mod filter;
mod fused;
mod inv_conv;
pub mod log_det;
pub mod masked_residual;
pub(crate) mod net_conv;
pub mod pad;
pub mod spline;
mod vector;
pub mod weight_norm;

pub use crate::problem::{ChannelForm, Corner, Direction, Geometry};
pub use conv_relu_conv::conv_relu_conv;
pub use fused::eagerly;
pub use inv_conv::{inv_conv2d, masked_conv2d, reference};
pub use net_conv::Precision;
pub use vector::instruction_set;
