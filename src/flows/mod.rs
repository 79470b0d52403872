//! Bijections: every layer of the flows, one family a file, all behind [`Transform`].

mod actnorm;
mod check;
mod cinc;
mod conv1x1;
mod coupling;
mod emerging;
mod finc;
mod inv_conv;
mod masked_conv;
mod preprocess;
mod quad_coupling;
mod reverse;
mod self_norm;
mod self_norm_grad;
mod sequential;
mod spline;
mod squeeze;
mod transform;

pub use actnorm::ActNorm;
pub use cinc::{Cinc, CincConfig};
pub use conv1x1::Conv1x1;
pub use coupling::Coupling;
pub use emerging::{Emerging, EmergingConfig};
pub use finc::{Finc, FincConfig};
pub use inv_conv::{Diagonal, InvConv, InvConvConfig};
pub use masked_conv::MaskedConv;
pub use preprocess::{to_pixels, Dequantize, LogitMap, Scale, PIXEL_LEVELS};
pub use quad_coupling::QuadCoupling;
pub use reverse::ReverseChannels;
pub use self_norm::{SelfNorm, SelfNormConfig};
pub use sequential::{Inverted, Sequential};
pub use spline::{Spline, SplineConfig};
pub use squeeze::Squeeze;
pub use transform::{sum_per_sample, zero_log_det, AuxiliaryLosses, Cx, Mapped, Transform};
