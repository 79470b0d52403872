//! What a call is: the words in which operators, kernels and the border talk about one.
//!
//! [`crate::ops`] offers the public ones again; nothing here computes.

mod affine;
mod corner;
mod direction;
mod geometry;
pub mod log_det;
mod operation;
pub mod residual;
pub mod spline;

pub use affine::{AffineForm, ChannelForm};
pub(crate) use affine::{Layout, LogScale};
pub use corner::Corner;
pub use direction::Direction;
#[cfg(test)]
pub(crate) use geometry::geometry;
pub use geometry::Geometry;
pub use operation::Op;
