//! The CUDA border: kernel images, launch plans, launches on torch's own context and stream.
//!
//! | module | idea |
//! |---|---|
//! | [`libtorch`] | loads libtorch's CUDA half where there is a driver |
//! | [`precision`] | float32 means float32: no TF32 unless it is asked for |
//! | `images`, `module` | kernel images, all loaded when a device is first used |
//! | `device`, `context`, `current` | GPUs; launches, which leave the thread's current device as it was |
//! | [`kernels`] | the names of the kernels |
//! | [`launch`] | launch plans: pure functions of the sizes |
//! | [`params`] | the kernels' parameter structs |
//! | `events`, `counts` | time on the device; what it was asked for, where the driver counts it |
//! | [`filter`] | the effective filters of all layers at once: parameters, plan, launches |
//! | `singular` | filters without an inverse, and how the host learns of them |
//! | [`batch`] | images and noise of a training batch |
//! | [`verdict`] | whether a training step is taken |
//! | [`actnorm`], [`butterfly`], [`channels`], [`coupling`], [`log_det`], [`masked_residual`], [`pad`], [`spline`], [`weight_norm`] | a small operator each: parameters, plan, launches |
//! | [`baseline`] | the published scheme, to be measured against |
//! | `probe` | what the driver and the GPUs are, for `doctor` |
//!
//! `unsafe` code lives here and in `ffi` only. What launches is not public but for [`baseline::solve`], which checks its
//! arguments: a kernel believes the addresses and sizes in its parameters.
//!
//! ```compile_fail
//! use inverse_flow::cuda::current::Current;
//! ```
#![allow(unsafe_code)]

pub mod actnorm;
pub mod baseline;
pub mod batch;
pub mod butterfly;
pub mod channels;
mod context;
#[cfg(feature = "program")]
pub(crate) mod counts;
pub mod coupling;
mod current;
mod device;
mod driver_error;
pub(crate) mod events;
pub mod filter;
mod images;
pub mod kernels;
pub mod launch;
pub mod libtorch;
pub mod log_det;
pub mod masked_residual;
mod module;
pub mod pad;
pub mod params;
pub mod precision;
pub(crate) mod probe;
mod run;
mod singular;
pub mod spline;
mod tensors;
pub mod verdict;
pub mod weight_norm;

pub use libtorch::availability;
pub(crate) use run::run;
pub use singular::check;
pub(crate) use singular::numbers;
