//! Layers in a row as a density.

use super::{standard_normal, standard_normal_log_prob};
use crate::flows::{Cx, Mapped, Sequential, Transform};
use crate::Result;
use tch::Tensor;

/// A sequence of layers with a standard normal latent is a density, on images of any kind or on other data of the shape
/// `[N, C, H, W]`; the methods mean what those of [`MultiScale`](crate::models::MultiScale) do, and the latent is one
/// tensor.
impl Sequential {
    /// Exact `log p(x) = log N(z; 0, I) + log|det ∂z/∂x|`, nats, `[N]`.
    ///
    /// # Errors
    /// As [`Transform::forward`].
    pub fn log_prob(&self, x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
        let Mapped { value, log_det } = self.encode(x, cx)?;
        Ok(log_det.f_add(&standard_normal_log_prob(&value)?)?)
    }

    /// `n` samples: decoded latents of the prior times `temperature`. 1 is the model's own distribution, less is closer
    /// to its mode.
    ///
    /// The latents are drawn from libtorch's global generator, which `tch::manual_seed` seeds; no gradients are
    /// recorded. For latents of your own there is [`decode`](Sequential::decode).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the sequence does not know for which data it is: see
    /// [`over`](Sequential::over). [`Error::Argument`](crate::Error::Argument) for a negative number or temperature. As
    /// [`Transform::inverse`].
    pub fn sample(&self, n: i64, temperature: f64, cx: Cx<'_>) -> Result<Tensor> {
        let (chw, options) = self.data()?;
        let latent = standard_normal(n, self.out_shape(chw)?, temperature, options)?;
        Ok(tch::no_grad(|| self.decode(&latent, cx))?.value)
    }

    /// Data to the latent, and `log|det ∂z/∂x|`: [`Transform::forward`].
    ///
    /// # Errors
    /// A wrong shape, or a layer that needs a first batch.
    pub fn encode(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.forward(x, cx)
    }

    /// A latent to data, the exact inverse of [`encode`](Sequential::encode): [`Transform::inverse`].
    ///
    /// # Errors
    /// As `encode`.
    pub fn decode(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.inverse(z, cx)
    }
}
