//! Normalizing flows made of the exact inverse of a convolution, on libtorch.
//!
//! A convolution that is zero-padded on one corner's side only is triangular, so it can be inverted exactly, pixel by
//! pixel from that corner. Inverse-Flow (Nagar and Varma, AISTATS 2025, <https://arxiv.org/abs/2410.14634>) uses this
//! inverse as the training direction of a flow, so that sampling needs ordinary convolutions only. Here are the operator
//! with its gradients, kernels for CPUs and NVIDIA GPUs, and the flow, trained from the command line.
//!
//! The modules in reading order:
//!
//! | module | what it holds | start reading at |
//! |---|---|---|
//! | [`ops`] | the differentiable operators | [`ops::inv_conv2d`] |
//! | [`flows`] | bijections with their log-determinants | [`flows::Transform`] |
//! | [`nn`] | the nets inside couplings | [`nn::CouplingNet`] |
//! | [`distributions`] | base density, learned priors, bits per dimension | [`distributions::SplitPrior`] |
//! | [`models`] | density models over images | [`models::MultiScale`] |
//! | [`torchscript`] | what a layer is in TorchScript, and the file of a model | [`torchscript::Script`] |
//! | [`weights`] | named tensors in files of this crate, tch and PyTorch | [`weights::StateFile`] |
//! | [`autograd`] | autograd functions written in Rust | [`autograd::CustomFn`] |
//! | [`cuda`] | kernel images, launch plans, launches on torch's stream | [`cuda::launch`] |
//! | [`data`] | image data sets and all randomness of training | [`data::load`] |
//! | [`distributed`] | several processes that compute together: sums and broadcasts | [`distributed::Group`] |
//! | [`train`] | runs: optimiser, checkpoints, metrics, evaluation | [`train::Trainer`] |
//! | [`reproduce`] | the paper's tables, measured again | [`reproduce::Table`] |
//! | [`plot`] | image grids and charts as PNG and SVG | [`plot::save_grid`] |
//! | [`cli`] | the `inverse-flow` program | [`cli::main`] |
//!
//! `reproduce`, `plot` and `cli` belong to the feature `program`, which is on unless `default-features = false` leaves it out.
//! Without it [`train`] draws no pictures, and shows a run as lines or not at all.
//!
//! Words: **forward** is data to latent (the solve), **inverse** is latent to data (the convolution); log-determinants and
//! log-likelihoods are in nats unless they are called bits per dimension.
//!
//! A flow `z = f(x)` of data x is a density by the change of variables, exactly:
//!
//! ```text
//! log p(x) = log N(z; 0, I) + log|det ∂z/∂x|,   and samples are x = f⁻¹(z), z ~ N(0, I)
//! ```
//!
//! Images are `[N, C, H, W]`, log-determinants and likelihoods `[N]`.
//!
//! # In ten lines
//! ```
//! use inverse_flow::ops::{inv_conv2d, Corner};
//! use tch::{nn, Device, Kind, Tensor};
//!
//! tch::manual_seed(0);
//! let vs = nn::VarStore::new(Device::Cpu);
//! let weight = vs.root().randn("weight", &[4, 4, 3, 3], 0.0, 0.01);
//! tch::no_grad(|| weight.select(3, 2).select(2, 2).copy_(&Tensor::eye(4, (Kind::Float, Device::Cpu))));
//! let image = Tensor::randn([2, 4, 8, 8], (Kind::Float, Device::Cpu));
//! let latent = inv_conv2d(&image, &weight, &[Corner::TopLeft])?; // solves A(weight) latent = image
//! latent.square().sum(Kind::Float).backward(); // exact gradients of both arguments
//! assert_eq!(weight.grad().size(), [4, 4, 3, 3]);
//! # Ok::<(), inverse_flow::Error>(())
//! ```
//!
//! # As a dependency
//! In `Cargo.toml`, with the path of your checkout:
//!
//! ```toml
//! [dependencies]
//! inverse-flow = { path = "../inverse-flow", default-features = false }
//! tch = "=0.24.0"
//! torch-sys = "=0.24.0" # a direct dependency, or build.rs is not told where libtorch is
//! ```
//!
//! In `build.rs` beside it, because the link arguments of a library do not reach the programs that use it:
//!
//! ```rust,ignore
//! fn main() {
//!     // the program looks for libtorch where torch-sys found it; LD_LIBRARY_PATH is not needed
//!     let libtorch = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency");
//!     println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}");
//! }
//! ```
//!
//! Build with `LIBTORCH=<checkout>/.venv/libtorch` in the environment, or in `[env]` of your `.cargo/config.toml`. For a GPU
//! call [`cuda::libtorch::load`] before the first tensor: the linker leaves libtorch's CUDA half out of a program that names
//! none of its symbols, and then `Cuda::is_available()` is false; its error says what is missing. tch 0.24.0 accepts libtorch
//! 2.11.0 and no other.
#![deny(unsafe_code)]

pub mod autograd;
#[cfg(feature = "program")]
pub mod cli;
pub mod cuda;
pub mod data;
pub mod distributed;
pub mod distributions;
mod error;
mod ffi;
mod files;
pub mod flows;
pub mod models;
pub mod nn;
pub mod ops;
mod phase;
#[cfg(feature = "program")]
pub mod plot;
mod problem;
#[cfg(feature = "program")]
pub mod reproduce;
pub mod torchscript;
pub mod train;
pub mod weights;
mod words;

pub use error::{Error, Result};
pub use ffi::keep_freed_memory;
