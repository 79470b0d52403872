//! What a model is made of; saved as part of `config.json` and in every checkpoint.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

pub use crate::flows::SplineConfig;
pub use crate::nn::{CouplingConfig, Net};

/// A Glow-like model: levels of squeeze, steps of flow, split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Name of the flow family: one of [`MODELS`](super::MODELS).
    pub model: String,
    /// Image shape `[C, H, W]`.
    pub image: [i64; 3],
    /// Number of levels `L`.
    pub levels: usize,
    /// Flow steps per level `K`.
    pub steps: usize,
    /// Kernel size `k` of the inverse convolution.
    pub kernel: i64,
    /// ActNorm at the start of every step.
    pub actnorm: bool,
    /// Spline activation after the convolution of every step.
    pub spline: Option<SplineConfig>,
    /// Fixed reversal of the channels before every coupling, so that every channel is transformed.
    pub reverse_channels: bool,
    /// Coupling at the end of every step.
    pub coupling: CouplingConfig,
    /// Width of the coupling inside the split prior; `None` keeps all channels to the end.
    pub split_prior: Option<i64>,
    /// Margin `a` of the logit preprocessing.
    pub alpha: f64,
    /// Standard deviation of the convolution's initial taps.
    pub init_std: f64,
}

impl ModelConfig {
    /// Dimensions of an image, `C H W`: what bits per dimension are divided by.
    pub fn dims(&self) -> i64 {
        self.image.iter().product()
    }

    /// Checks what no layer checks by itself: that there is an image and a model to speak of, and that the image can
    /// be squeezed at every level.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field and what to change.
    pub fn check(&self) -> Result<()> {
        let [channels, height, width] = self.image;
        if channels < 1 || height < 1 || width < 1 {
            return Err(Error::config(format!(
                "`image` must be [channels, height, width], each 1 or more, got {:?}",
                self.image
            )));
        }
        for (field, value) in [("levels", self.levels), ("steps", self.steps)] {
            if value == 0 {
                return Err(Error::config(format!("`{field}` must be 1 or more, got 0")));
            }
        }
        let block = u32::try_from(self.levels)
            .ok()
            .and_then(|levels| 2i64.checked_pow(levels));
        let divides = |size: i64| block.is_some_and(|block| size % block == 0);
        if !(divides(height) && divides(width)) {
            return Err(Error::config(format!(
                "an image of {height}x{width} cannot be squeezed {} times: both sides must be divisible by 2^{}; \
                 use fewer `levels`, or pad or crop the images",
                self.levels, self.levels
            )));
        }
        Ok(())
    }
}
