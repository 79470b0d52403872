//! The CUDA border: kernel images, launch plans, launches on torch's own context and stream.
//!
//! | module | idea |
//! |---|---|
//! | [`libtorch`] | loads libtorch's CUDA half where there is a driver |
//! | [`module`] | kernel images, loaded once per device; launches |
//! | [`kernels`] | the names of the kernels |
//! | [`launch`] | launch plans: pure functions of the sizes |
//! | [`params`] | the kernels' parameter structs |
//! | [`spline`] | the spline: parameters, plan, launches |
//! | [`baseline`] | the published scheme, to be measured against |
//! | [`probe`] | what the driver and the GPUs are, for `doctor` |
//!
//! `unsafe` code lives here and in [`crate::ffi`] only.
#![allow(unsafe_code)]

pub mod baseline;
pub mod kernels;
pub mod launch;
pub mod libtorch;
pub mod module;
pub mod params;
pub mod probe;
mod run;
pub mod spline;

pub use libtorch::availability;
pub(crate) use run::run;
