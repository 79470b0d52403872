//! Bijections: every layer of the flows, one family a file, all behind [`Transform`].
//!
//! A layer maps `[N, C, H, W]` to a value and `log|det|` of its Jacobian, `[N]` in nats, and back. Layers in a row compose
//! by [`Sequential`], whose log-det is the sum of theirs. P is the number of pixels, `H W`:
//!
//! | layer | forward, data to latent | log-det |
//! |---|---|---|
//! | [`InvConv`] | `z = A(W)⁻¹ x`, a triangular solve | `-P Σ log W[c,c,anchor]`, 0 for a unit diagonal |
//! | [`MaskedConv`], [`Finc`], [`Cinc`] | `z = A(W) x + b`, the same read backwards | `P Σ log W[c,c,anchor]` |
//! | [`Emerging`] | a 1x1 and two masked convolutions from opposite corners | the sum of the three |
//! | [`SelfNorm`] | `z = W * x`, any convolution | left out of training, exact in evaluation |
//! | [`Conv1x1`] | `z = W x` at every pixel | `P log abs det W` |
//! | [`Woodbury`] | `z = (I + U V) x` along channels and pixels | from cores of low rank |
//! | [`Butterfly`] | a product of 2x2 mixings | a sum over 2x2 determinants |
//! | [`MaskedConvFlow`] | affine map of each line given the lines before | `Σ log s` |
//! | [`MaskedResidual`] | `z = s x + g(x)` with a triangular Jacobian | `Σ log` of its diagonal |
//! | [`ActNorm`], [`ScaleThenShift`] | `z = s x + b` per channel | `P Σ log s` |
//! | [`Coupling`], [`AffineCoupling`], [`QuadCoupling`] | `z2 = s(x1) x2 + t(x1)` | `Σ log s` |
//! | [`Spline`] | a monotone function of each element | `Σ log` of its slopes |
//! | [`Squeeze`], [`ReverseChannels`] | `[C, H, W]` to `[C r², H/r, W/r]`; a reversal | 0 |
//! | [`Dequantize`], [`Scale`], [`Center`], [`LogitMap`] | 8-bit pixels to the real line | constants and a sum over pixels |
//!
//! A layer of your own needs four methods of [`Transform`]; the net of a coupling is anything in [`nn`](crate::nn), any
//! `tch::nn::Module`, or a closure:
//!
//! ```
//! use inverse_flow::flows::{zero_log_det, Coupling, Cx, Mapped, Sequential, Transform};
//! use inverse_flow::Result;
//! use tch::{nn, Device, Kind, Tensor};
//!
//! /// Turns every image by 180 degrees.
//! #[derive(Debug)]
//! struct Turn;
//!
//! impl Transform for Turn {
//!     fn name(&self) -> &'static str {
//!         "turn"
//!     }
//!     fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
//!         Ok(Mapped { value: x.f_flip([2, 3])?, log_det: zero_log_det(x)? })
//!     }
//!     fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
//!         self.forward(z, cx)
//!     }
//!     fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
//!         Ok(chw)
//!     }
//! }
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let coupling = Coupling::new(&(vs.root() / "coupling"), 2, |vs, inputs, outputs| {
//!     let conv = nn::conv2d(vs, inputs, outputs, 3, nn::ConvConfig { padding: 1, ..Default::default() });
//!     Ok(nn::func(move |x| x.apply(&conv).tanh()))
//! })?;
//! let flow = Sequential::new().push("turn", Turn).push("coupling", coupling).over(&vs.root(), [2, 4, 4]);
//!
//! let x = flow.sample(8, 1.0, Cx::default())?; // [8, 2, 4, 4]
//! let log_prob = flow.log_prob(&x, Cx::default())?; // [8], nats: maximise its mean
//! let z = flow.encode(&x, Cx::default())?.value;
//! let back = flow.decode(&z, Cx::default())?.value;
//! assert!((back - &x).abs().max().double_value(&[]) < 1e-5);
//! assert_eq!(log_prob.size(), [8]);
//! # Ok::<(), inverse_flow::Error>(())
//! ```

mod actnorm;
mod affine_coupling;
mod butterfly;
pub(crate) mod check;
mod cinc;
mod conv1x1;
mod coupling;
mod dequantize;
mod derived;
mod emerging;
mod finc;
mod fixed_point;
mod inv_conv;
mod lines;
mod log_det;
mod macow;
mod masked_conv;
mod mintnet;
mod preprocess;
mod quad_coupling;
mod reverse;
mod scale_then_shift;
mod self_norm;
mod self_norm_grad;
mod sequential;
mod spline;
mod squeeze;
mod transform;
mod woodbury;

pub use crate::ops::coupling::AffineForm;
pub use crate::ops::masked_residual::Triangle;
pub use actnorm::ActNorm;
pub use affine_coupling::AffineCoupling;
pub use butterfly::{Butterfly, ButterflyInit, MIN_DETERMINANT};
pub use cinc::{Cinc, CincConfig};
pub use conv1x1::Conv1x1;
pub use coupling::Coupling;
pub use dequantize::{Bits, Dequantize};
pub use emerging::{Emerging, EmergingConfig};
pub use finc::{Finc, FincConfig};
pub use fixed_point::FixedPoint;
pub use inv_conv::{Diagonal, InvConv, InvConvConfig};
pub use lines::LineOrder;
pub use log_det::zero_log_det;
pub(crate) use log_det::LogDets;
pub use macow::{macow_unit, MaskedConvFlow};
pub use masked_conv::MaskedConv;
pub use mintnet::MaskedResidual;
pub use preprocess::{to_pixels, to_range, Center, LogitMap, Scale, LARGEST_PIXEL, PIXEL_LEVELS};
pub use quad_coupling::QuadCoupling;
pub use reverse::ReverseChannels;
pub use scale_then_shift::ScaleThenShift;
pub use self_norm::{SelfNorm, SelfNormConfig};
pub use sequential::{Inverted, Sequential};
pub use spline::{Spline, SplineConfig};
pub use squeeze::Squeeze;
pub use transform::{sum_per_sample, AuxiliaryLosses, Cx, Mapped, Transform};
pub use woodbury::{Woodbury, WoodburyRanks};
