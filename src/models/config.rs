//! What a model is made of; saved as part of `config.json` and in every checkpoint.

use super::Mixing;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

pub use super::glow_config::{CouplingForm, GlowConfig};
pub use crate::flows::SplineConfig;
pub use crate::nn::{CouplingConfig, Net};

/// A model of one of several architectures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// Levels of squeeze, steps of flow, split: the families that differ in one layer.
    Glow(GlowConfig),
}

/// Changes that make sense for many models; `None` leaves a value as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Flow family.
    pub model: Option<String>,
    /// Image shape `[C, H, W]`.
    pub image: Option<[i64; 3]>,
    /// Number of levels.
    pub levels: Option<usize>,
    /// Flow steps per level.
    pub steps: Option<usize>,
    /// Side of the filters of the family's own layer.
    pub kernel: Option<i64>,
    /// Hidden channels of the coupling nets.
    pub width: Option<i64>,
}

impl From<GlowConfig> for ModelConfig {
    fn from(config: GlowConfig) -> Self {
        Self::Glow(config)
    }
}

impl ModelConfig {
    /// Name of the flow family: one of [`MODELS`](super::MODELS).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Glow(glow) => glow.mixing.name(),
        }
    }

    /// Image shape `[C, H, W]`.
    pub fn image(&self) -> [i64; 3] {
        match self {
            Self::Glow(glow) => glow.image,
        }
    }

    /// Dimensions of an image, `C H W`: what bits per dimension are divided by.
    pub fn dims(&self) -> i64 {
        self.image().iter().product()
    }

    /// Puts `changes` in place of what is there.
    ///
    /// Another family keeps everything of the model but the layers the families differ in, which come with the options
    /// they were published with.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown family, and for a change that this architecture has no place for.
    pub fn change(&mut self, changes: &Overrides) -> Result<()> {
        match self {
            Self::Glow(glow) => glow.change(changes),
        }
    }
}

impl GlowConfig {
    fn change(&mut self, changes: &Overrides) -> Result<()> {
        if let Some(model) = changes.model.as_deref() {
            if model != self.mixing.name() {
                self.mixing = Mixing::by_name(model).ok_or_else(|| unknown_model(model))?;
                self.reverse_channels = !self.mixing.permutes_channels();
            }
        }
        replace(&mut self.image, changes.image);
        replace(&mut self.levels, changes.levels);
        replace(&mut self.steps, changes.steps);
        if let Some(kernel) = changes.kernel {
            let family = self.mixing.name();
            *self.mixing.kernel_mut().ok_or_else(|| {
                Error::config(format!("{family} has no choice of `kernel`: leave it out"))
            })? = kernel;
        }
        if let Some(width) = changes.width {
            self.coupling.width = width;
            self.split_prior = self.split_prior.map(|_| width);
        }
        Ok(())
    }
}

fn replace<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn unknown_model(model: &str) -> Error {
    Error::config(format!(
        "unknown model {model:?}: expected one of {}",
        super::MODELS.join(", ")
    ))
}
