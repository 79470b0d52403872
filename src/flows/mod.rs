//! Bijections: every layer of the flows, one family a file, all behind [`Transform`].

mod actnorm;
mod check;
mod coupling;
mod inv_conv;
mod preprocess;
mod reverse;
mod sequential;
mod spline;
mod squeeze;
mod transform;

pub use actnorm::ActNorm;
pub use coupling::Coupling;
pub use inv_conv::{Diagonal, InvConv, InvConvConfig};
pub use preprocess::{to_pixels, Dequantize, LogitMap, Scale, PIXEL_LEVELS};
pub use reverse::ReverseChannels;
pub use sequential::{Inverted, Sequential};
pub use spline::{Spline, SplineConfig};
pub use squeeze::Squeeze;
pub use transform::{sum_per_sample, zero_log_det, Cx, Mapped, Transform};
