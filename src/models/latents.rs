//! What an image becomes in a model of several scales.

use crate::distributions::check_temperature;
use crate::Result;
use tch::Tensor;

/// One latent per level (the part that was split off, last the top), each `[N, C, H, W]` under a standard normal prior.
#[derive(Debug)]
pub struct Latents(pub Vec<Tensor>);

impl Latents {
    /// All latents times `temperature`. Below 1 that narrows the prior they were drawn from, which gives smoother images.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a temperature below 0 or not finite.
    pub fn scaled(&self, temperature: f64) -> Result<Self> {
        check_temperature(temperature)?;
        let scaled = self.0.iter().map(|z| Ok(z.f_mul_scalar(temperature)?));
        Ok(Self(scaled.collect::<Result<_>>()?))
    }
}

/// Latents and the log-det of the map that made them.
#[derive(Debug)]
pub struct Encoded {
    /// Latents, level by level.
    pub latents: Latents,
    /// `[N]`, nats: `log|det ∂latents/∂image|` over all layers, preprocessing included.
    pub log_det: Tensor,
}
