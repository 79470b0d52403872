//! What a model is made of; saved as part of `config.json` and in every checkpoint.

use super::{Classes, Overrides};
use crate::Result;
use serde::{Deserialize, Serialize};

pub use super::butterfly::ButterflyConfig;
pub use super::glow_config::{CouplingForm, GlowConfig};
pub use super::macow::{MaCowBlock, MaCowConfig, MaCowSplitBlock};
pub use super::mintnet::MintNetConfig;
pub use super::woodbury::WoodburyConfig;
pub use crate::flows::SplineConfig;
pub use crate::nn::{CouplingConfig, Net};

/// A model of one of several architectures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "lowercase")]
pub enum ModelConfig {
    /// Levels of squeeze, steps of flow, split: the families that differ in one layer.
    Glow(GlowConfig),
    /// MaCow's own network.
    MaCow(MaCowConfig),
    /// Woodbury-Glow as published.
    Woodbury(WoodburyConfig),
    /// ButterflyFlow as published.
    Butterfly(ButterflyConfig),
    /// MintNet, which has no steps to put another layer in.
    MintNet(MintNetConfig),
}

impl From<GlowConfig> for ModelConfig {
    fn from(config: GlowConfig) -> Self {
        Self::Glow(config)
    }
}

impl From<MaCowConfig> for ModelConfig {
    fn from(config: MaCowConfig) -> Self {
        Self::MaCow(config)
    }
}

impl From<WoodburyConfig> for ModelConfig {
    fn from(config: WoodburyConfig) -> Self {
        Self::Woodbury(config)
    }
}

impl From<ButterflyConfig> for ModelConfig {
    fn from(config: ButterflyConfig) -> Self {
        Self::Butterfly(config)
    }
}

impl From<MintNetConfig> for ModelConfig {
    fn from(config: MintNetConfig) -> Self {
        Self::MintNet(config)
    }
}

impl ModelConfig {
    /// Name of the flow family: one of [`MODELS`](super::MODELS).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Glow(glow) => glow.mixing.name(),
            Self::MaCow(_) => "macow",
            Self::Woodbury(_) => "woodbury",
            Self::Butterfly(_) => "butterfly",
            Self::MintNet(_) => "mintnet",
        }
    }

    /// Image shape `[C, H, W]`.
    pub fn image(&self) -> [i64; 3] {
        match self {
            Self::Glow(config) => config.image,
            Self::MaCow(config) => config.image,
            Self::Woodbury(config) => config.image,
            Self::Butterfly(config) => config.image,
            Self::MintNet(config) => config.image,
        }
    }

    /// Dimensions of an image, `C H W`: what bits per dimension are divided by.
    pub fn dims(&self) -> i64 {
        self.image().iter().product()
    }

    /// The classes of a conditional model.
    pub fn classes(&self) -> Option<&Classes> {
        match self {
            Self::Glow(config) => config.classes.as_ref(),
            Self::MaCow(config) => config.classes.as_ref(),
            Self::Woodbury(config) => config.classes.as_ref(),
            Self::Butterfly(config) => config.classes.as_ref(),
            Self::MintNet(config) => config.classes.as_ref(),
        }
    }

    /// The place of [`classes`](Self::classes).
    pub fn classes_mut(&mut self) -> &mut Option<Classes> {
        match self {
            Self::Glow(config) => &mut config.classes,
            Self::MaCow(config) => &mut config.classes,
            Self::Woodbury(config) => &mut config.classes,
            Self::Butterfly(config) => &mut config.classes,
            Self::MintNet(config) => &mut config.classes,
        }
    }

    /// Puts `changes` in place of what is there.
    ///
    /// Another family keeps everything of a Glow-like model but the layers the families differ in, which come with the
    /// options they were published with. The other architectures have no such place.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for an unknown family, and for a change that this architecture has no
    /// place for.
    pub fn change(&mut self, changes: &Overrides) -> Result<()> {
        if !matches!(self, Self::Glow(_)) {
            changes.refuse_other_than(self.name())?;
        }
        match self {
            Self::Glow(config) => config.change(changes),
            Self::MaCow(config) => config.change(changes),
            Self::Woodbury(config) => config.change(changes),
            Self::Butterfly(config) => config.change(changes),
            Self::MintNet(config) => config.change(changes),
        }
    }
}
