//! Helper networks: what the couplings are conditioned by. Nothing here has to be invertible.
//!
//! | to condition a coupling by | use |
//! |---|---|
//! | a net of the paper's tables | [`CouplingNet`], [`norm_net`], [`weight_norm_net`] |
//! | convolutions of this crate | [`Stack`] of [`Conv2d`], [`Conv2dZero`] |
//! | a net made with tch | any `tch::nn::Module`, such as `tch::nn::seq()` |
//! | a net that sees the class of an image | [`ClassNet`] around any of them |
//! | a closure | `tch::nn::func(...)`, or [`conditional`] if it takes a condition |
//! | a type of your own | [`Conditioner`] |
//!
//! ```
//! use inverse_flow::flows::{Coupling, Cx, Transform};
//! use inverse_flow::nn::{Activation, Conv2d, Conv2dZero, Stack};
//! use tch::{nn, Device, Kind, Tensor};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let own = Coupling::new(&(vs.root() / "own"), 6, |vs, inputs, outputs| {
//!     Ok(Stack::new(Activation::Relu)
//!         .push(Conv2d::new(&(vs / 0), inputs, 16, 3, true)?)
//!         .push(Conv2dZero::new(&(vs / 1), 16, outputs)?))
//! })?;
//! let tchs = Coupling::new(&(vs.root() / "tchs"), 6, |vs, inputs, outputs| {
//!     Ok(nn::seq()
//!         .add(nn::conv2d(vs / 0, inputs, 16, 1, Default::default()))
//!         .add_fn(|x| x.elu())
//!         .add(nn::conv2d(vs / 1, 16, outputs, 1, Default::default())))
//! })?;
//! let x = Tensor::randn([2, 6, 8, 8], (Kind::Float, Device::Cpu));
//! let z = tchs.forward(&own.forward(&x, Cx::default())?.value, Cx::default())?;
//! assert_eq!((z.value.size(), z.log_det.size()), (vec![2, 6, 8, 8], vec![2]));
//! # Ok::<(), inverse_flow::Error>(())
//! ```

mod class_net;
mod conditional;
mod conditioner;
mod conv;
mod coupling_net;
mod embedding;
mod first_batch;
mod norm_net;
mod stack;
mod weight_norm;

pub use crate::ops::Precision;
pub(crate) use class_net::of_class;
pub use class_net::{ClassNet, ClassPlanes};
pub use conditional::{conditional, Conditional};
pub use conditioner::Conditioner;
pub use conv::{Conv2d, Conv2dZero};
pub use coupling_net::{CouplingConfig, CouplingNet, Net};
pub(crate) use first_batch::{FirstBatch, Moments};
pub use norm_net::{norm_net, TwiceBiasedConv2dZero};
pub use stack::{Activation, Stack};
pub use weight_norm::{weight_norm_net, WeightNorm};
