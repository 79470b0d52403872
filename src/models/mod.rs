//! Assemblies: density models over images, built from a configuration.
//!
//! A [`ModelConfig`] says what a model is made of, [`build()`] makes a [`MultiScale`] of it: stages that each map what goes
//! on, and at the end of a level send a part of it out as a latent. [`MultiScale::builder`] makes one of layers of your own.
//!
//! ```text
//! image [N, C, H, W] → latents z₁ [N, C₁, H₁, W₁], ..., z_L      log p(x) = Σ log N(z_l; 0, I) + Σ log-dets of the stages
//! ```
//!
//! | to | use |
//! |---|---|
//! | get `log p(x)` of images | [`MultiScale::log_prob`] |
//! | get latents, and images back | [`MultiScale::encode`], [`MultiScale::decode`] |
//! | draw images | [`MultiScale::sample`] |
//! | train without stored activations | [`gradients_by_inversion`] |
//! | say which class an image is of | [`Classes`], [`MultiScale::condition`] |
//! | save a program for Python or C++ | [`MultiScale::torchscript`], [`archive`](crate::torchscript::archive()) |
//! | put layers together on data that are no images | [`flows::Sequential`](crate::flows::Sequential), as in `examples/flow_on_your_data.rs` |
//!
//! ```
//! use inverse_flow::flows::Cx;
//! use inverse_flow::models::{build, ButterflyConfig};
//! use tch::{nn, Device, Kind, Tensor};
//!
//! let config = ButterflyConfig { image: [1, 8, 8], steps: 2, width: 16, ..ButterflyConfig::mnist() };
//! let vs = nn::VarStore::new(Device::Cpu);
//! let mut model = build(&vs.root(), &config.into())?;
//! let images = Tensor::randint(256, [4, 1, 8, 8], (Kind::Float, Device::Cpu));
//! model.initialize(&images, Cx::default())?; // ActNorm looks at a first batch
//! let loss = -model.log_prob(&images, Cx::default())?.mean(Kind::Float); // nats per image, for any optimiser
//! let latents = model.encode(&images, Cx::default())?.latents; // one tensor for each level
//! let samples = model.sample(3, 0.7, Cx::default())?;
//! assert_eq!((loss.size(), latents.0.len(), samples.size()), (vec![], 2, vec![3, 1, 8, 8]));
//! # Ok::<(), inverse_flow::Error>(())
//! ```

mod build;
mod butterfly;
mod classes;
mod config;
mod glow;
mod glow_config;
mod latents;
mod macow;
mod mintnet;
mod mixing;
mod multiscale;
mod names;
mod overrides;
mod rebuild;
mod wn_glow;
mod woodbury;

pub use build::{build, parameter_count};
pub use butterfly::butterfly_mixing;
pub use classes::{Classes, CLASS_PLANES};
pub use config::{
    ButterflyConfig, CouplingConfig, CouplingForm, GlowConfig, MaCowBlock, MaCowConfig,
    MaCowSplitBlock, MintNetConfig, ModelConfig, Net, SplineConfig, WoodburyConfig,
};
pub use latents::{Encoded, Latents};
pub use macow::macow_mixing;
pub use mixing::{ButterflyMixing, InverseFlowConfig, MaCowMixing, Mixing, WoodburyMixing};
pub use multiscale::{MultiScale, MultiScaleBuilder, Stage, Staged};
pub use names::MODELS;
pub use overrides::Overrides;
pub use rebuild::{gradients_by_inversion, Rebuilt, PART_ELEMENTS};
pub use woodbury::woodbury_mixing;
