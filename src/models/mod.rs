//! Assemblies: density models over images, built from a configuration.
//!
//! A [`ModelConfig`] says what a model is made of, [`build()`] makes a [`Flow`] of it: stages that each map what goes on, and
//! at the end of a level send a part of it out as a latent ([`MultiScale`]).
//!
//! ```text
//! image [N, C, H, W] → latents z₁ [N, C₁, H₁, W₁], ..., z_L      log p(x) = Σ log N(z_l; 0, I) + Σ log-dets of the stages
//! ```
//!
//! | to | use |
//! |---|---|
//! | get `log p(x)` of images | [`Flow::log_prob`] |
//! | get latents, and images back | [`Flow::encode`], [`Flow::decode`] |
//! | draw images | [`sample`] |
//! | put layers together on data that are no images | [`flows::Sequential`](crate::flows::Sequential), as in `examples/flow_on_your_data.rs` |

mod build;
mod butterfly;
mod config;
mod glow;
mod glow_config;
mod macow;
mod mintnet;
mod mixing;
mod multiscale;
mod overrides;
mod rebuild;
mod wn_glow;
mod woodbury;

pub use build::{build, parameter_count, MODELS};
pub use butterfly::butterfly_mixing;
pub use config::{
    ButterflyConfig, CouplingConfig, CouplingForm, GlowConfig, MaCowBlock, MaCowConfig,
    MaCowSplitBlock, MintNetConfig, ModelConfig, Net, SplineConfig, WoodburyConfig,
};
pub use macow::macow_mixing;
pub use mixing::{ButterflyMixing, InverseFlowConfig, MaCowMixing, Mixing, WoodburyMixing};
pub use multiscale::MultiScale;
pub use overrides::Overrides;
pub use rebuild::{gradients_by_inversion, Rebuilt, PART_ELEMENTS};
pub use woodbury::woodbury_mixing;

use crate::flows::{Cx, Mapped};
use crate::torchscript::Script;
use crate::Result;
use tch::Tensor;

/// What an image becomes: one latent per level (the part that was split off, last the top), each
/// `[N, C, H, W]` under a standard normal prior.
#[derive(Debug)]
pub struct Latents(pub Vec<Tensor>);

/// Latents and the log-det of the map that made them.
#[derive(Debug)]
pub struct Encoded {
    /// Latents, level by level.
    pub latents: Latents,
    /// `[N]`, nats: `log|det ∂latents/∂image|` over all layers, preprocessing included.
    pub log_det: Tensor,
}

/// One stage of a model as a function.
pub struct StageCall<'a> {
    /// Kind of the stage, as in [`Flow::layers`].
    pub kind: &'static str,
    /// Runs the stage on its input.
    #[allow(clippy::type_complexity)] // a boxed closure with two arguments
    pub run: Box<dyn Fn(&Tensor, Cx<'_>) -> Result<Staged> + 'a>,
    /// The input of the stage, from what goes on and what leaves there.
    #[allow(clippy::type_complexity)]
    pub invert: Box<dyn Fn(&Tensor, &[Tensor]) -> Result<Tensor> + 'a>,
}

/// What one stage makes of its input.
#[derive(Debug)]
pub struct Staged {
    /// Goes on to the next stage.
    pub kept: Tensor,
    /// What leaves here, under `N(0, I)`.
    pub latents: Vec<Tensor>,
    /// `[N]`; a plain split has none.
    pub log_det: Option<Tensor>,
}

/// A density model over 8-bit images.
///
/// `x` is `[N, C, H, W]` with pixel values 0..=255 in the model's floating-point kind; the dequantisation
/// noise comes in through [`Cx`].
pub trait Flow: std::fmt::Debug + Send {
    /// `[C, H, W]` of an image.
    fn image_shape(&self) -> [i64; 3];

    /// `[C, H, W]` of each latent, in the order of [`Latents`].
    fn latent_shapes(&self) -> Vec<[i64; 3]>;

    /// Data-dependent initialisation of every layer from a first batch. Idempotent.
    ///
    /// # Errors
    /// A wrong shape.
    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()>;

    /// Images to latents.
    ///
    /// # Errors
    /// A wrong shape, or not initialised.
    fn encode(&self, x: &Tensor, cx: Cx<'_>) -> Result<Encoded>;

    /// Latents to images (continuous, in `[0, 256)`; floor them for 8-bit pixels), the exact inverse of `encode`;
    /// `log_det` is `log|det ∂image/∂latents|`.
    ///
    /// # Errors
    /// A wrong shape, or not initialised.
    fn decode(&self, latents: &Latents) -> Result<Mapped>;

    /// Exact `log p(x)` of the dequantised images, nats, `[N]`.
    ///
    /// # Errors
    /// As [`encode`](Flow::encode).
    fn log_prob(&self, x: &Tensor, cx: Cx<'_>) -> Result<Tensor>;

    /// The model in TorchScript, with the methods that [`archive`](crate::torchscript::archive()) describes.
    ///
    /// # Errors
    /// A layer that has no TorchScript, with its kind and place.
    fn torchscript(&self) -> Result<Script>;

    /// Kind and hierarchical name of every layer in order (`levels.0.steps.3.inv_conv`), for `inspect`.
    fn layers(&self) -> Vec<(String, &'static str)>;

    /// The stages of `encode` one by one, for whoever measures them; a model that does not say is a single stage.
    fn stages(&self) -> Vec<StageCall<'_>> {
        vec![StageCall {
            kind: "model",
            run: Box::new(|x, cx| {
                let Encoded {
                    latents: Latents(mut latents),
                    log_det,
                } = self.encode(x, cx)?;
                Ok(Staged {
                    kept: latents.pop().unwrap_or_else(|| x.shallow_clone()),
                    latents,
                    log_det: Some(log_det),
                })
            }),
            invert: Box::new(|kept, latents| {
                let all = latents.iter().chain([kept]).map(Tensor::shallow_clone);
                Ok(self.decode(&Latents(all.collect()))?.value)
            }),
        }]
    }

    /// Runs `encode` layer by layer and names the first layer whose value or log-det is not finite.
    ///
    /// # Errors
    /// As [`encode`](Flow::encode).
    fn first_non_finite(&self, x: &Tensor, cx: Cx<'_>) -> Result<Option<String>>;
}

/// Images from latents drawn from the prior: `decode(temperature * eps)`.
///
/// Drawing `eps` from `N(0, I)` in the shapes of [`Flow::latent_shapes`] is the caller's, with the caller's seed. A
/// temperature below 1 narrows the prior, which gives smoother images.
///
/// # Shapes
/// One tensor `[N, C, H, W]` for each latent → `[N, C, H, W]` of the images, continuous in `[0, 256)`.
///
/// # Errors
/// As [`Flow::decode`]; and [`Error::Argument`](crate::Error::Argument) for a temperature below 0.
pub fn sample(flow: &dyn Flow, eps: &Latents, temperature: f64) -> Result<Tensor> {
    if !(temperature >= 0.0 && temperature.is_finite()) {
        return Err(crate::Error::argument(
            "sample",
            "temperature",
            format!("must be a number from 0 on, got {temperature}"),
        ));
    }
    let scaled = eps
        .0
        .iter()
        .map(|eps| Ok(eps.f_mul_scalar(temperature)?))
        .collect::<Result<Vec<_>>>()?;
    Ok(flow.decode(&Latents(scaled))?.value)
}
