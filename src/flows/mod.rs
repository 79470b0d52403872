//! Bijections: every layer of the flows, one family a file, all behind [`Transform`].

mod actnorm;
mod affine_coupling;
mod butterfly;
mod check;
mod conv1x1;
mod coupling;
mod derived;
mod inv_conv;
mod learned_prior;
mod macow;
mod mintnet;
mod preprocess;
mod reverse;
mod scale_then_shift;
mod sequential;
mod spline;
mod squeeze;
mod transform;
mod woodbury;

pub use actnorm::ActNorm;
pub use affine_coupling::{AffineCoupling, AffineForm};
pub use butterfly::{Butterfly, ButterflyInit, MIN_DETERMINANT};
pub use conv1x1::Conv1x1;
pub use coupling::Coupling;
pub use inv_conv::{Diagonal, InvConv, InvConvConfig};
pub use learned_prior::LearnedPrior;
pub use macow::{macow_unit, LineOrder, MaskedConvFlow};
pub use mintnet::{FixedPoint, MaskedResidual, Triangle};
pub use preprocess::{to_pixels, Center, Dequantize, LogitMap, Scale, PIXEL_LEVELS};
pub use reverse::ReverseChannels;
pub use scale_then_shift::ScaleThenShift;
pub use sequential::{Inverted, Sequential};
pub use spline::{Spline, SplineConfig};
pub use squeeze::Squeeze;
pub use transform::{sum_per_sample, zero_log_det, Cx, Mapped, Transform};
pub use woodbury::{Woodbury, WoodburyRanks};
