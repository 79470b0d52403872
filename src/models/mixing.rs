//! The layers in which the Glow-like flow families differ.

use super::names::{unknown, MODELS};
use super::{butterfly_mixing, macow_mixing, woodbury_mixing};
use crate::flows::{
    ButterflyInit, Cinc, CincConfig, Emerging, EmergingConfig, Finc, FincConfig, InvConv,
    InvConvConfig, SelfNorm, SelfNormConfig, Sequential, WoodburyRanks,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn;

/// What mixes pixels and channels in every step of a Glow-like model, with the family's own options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Mixing {
    /// The inverse of a convolution: [`InvConv`].
    InverseFlow(InverseFlowConfig),
    /// Self-normalizing convolution: [`SelfNorm`].
    Snf(SelfNormConfig),
    /// Emerging convolution: [`Emerging`].
    Emerging(EmergingConfig),
    /// FInC Flow's four corners: [`Finc`].
    Finc(FincConfig),
    /// CInC Flow's convolution: [`Cinc`].
    Cinc(CincConfig),
    /// Woodbury transformations in the place of a 1x1 convolution: [`woodbury_mixing`].
    Woodbury(WoodburyMixing),
    /// A 1x1 convolution and butterfly factors: [`butterfly_mixing`].
    Butterfly(ButterflyMixing),
    /// Masked units, ActNorm, 1x1 convolution: [`macow_mixing`].
    #[serde(rename = "macow")]
    MaCow(MaCowMixing),
}

/// Options of Inverse-Flow's layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InverseFlowConfig {
    /// Side k of the filters.
    pub kernel: i64,
    /// Standard deviation of the initial taps.
    pub init_std: f64,
    /// Limit on the sum of the taps, between 0 and 1, that keeps the recursion bounded; none if `null`. See [`InvConv`].
    pub bound: Option<f64>,
}

impl Default for InverseFlowConfig {
    fn default() -> Self {
        Self {
            kernel: 3,
            init_std: 0.01,
            bound: None,
        }
    }
}

/// Options of Woodbury-Glow's layer; the memory-efficient form of rank 16 by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WoodburyMixing {
    /// Axes and ranks.
    pub ranks: WoodburyRanks,
}

impl Default for WoodburyMixing {
    fn default() -> Self {
        Self {
            ranks: super::woodbury::MEMORY_EFFICIENT,
        }
    }
}

/// Options of ButterflyFlow's layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ButterflyMixing {
    /// Butterfly factors in every step, the same at all levels.
    pub factors: u32,
    /// How the factors start.
    pub init: ButterflyInit,
}

impl Default for ButterflyMixing {
    fn default() -> Self {
        Self {
            factors: 1,
            init: ButterflyInit::Identity,
        }
    }
}

/// Options of MaCow's layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaCowMixing {
    /// Masked units per step.
    pub units: usize,
    /// Window of the masked convolutions: lines before, and odd width across.
    pub kernel: [i64; 2],
}

impl Default for MaCowMixing {
    fn default() -> Self {
        Self {
            units: 2,
            kernel: [2, 3],
        }
    }
}

impl Mixing {
    /// Every family with the options it was published with.
    pub fn all() -> Vec<Self> {
        vec![
            Self::InverseFlow(InverseFlowConfig::default()),
            Self::Snf(SelfNormConfig::default()),
            Self::Emerging(EmergingConfig::default()),
            Self::Finc(FincConfig::default()),
            Self::Cinc(CincConfig::default()),
            Self::Woodbury(WoodburyMixing::default()),
            Self::Butterfly(ButterflyMixing::default()),
            Self::MaCow(MaCowMixing::default()),
        ]
    }

    /// The family `model` with the options it was published with.
    pub fn by_name(model: &str) -> Option<Self> {
        Self::all()
            .into_iter()
            .find(|mixing| mixing.name() == model)
    }

    /// Name of the family, as in [`MODELS`](super::MODELS).
    pub fn name(&self) -> &'static str {
        match self {
            Self::InverseFlow(_) => "inverse-flow",
            Self::Snf(_) => "snf",
            Self::Emerging(_) => "emerging",
            Self::Finc(_) => "finc",
            Self::Cinc(_) => "cinc",
            Self::Woodbury(_) => "woodbury",
            Self::Butterfly(_) => "butterfly",
            Self::MaCow(_) => "macow",
        }
    }

    /// The layer of the family `model`, for a step of a Glow-like network.
    pub(super) fn of_family(model: &str) -> Result<Self> {
        Self::by_name(model).ok_or_else(|| {
            if MODELS.contains(&model) {
                Error::config(format!(
                    "{model} is a network of its own, not a layer of a step: start from the preset quick/{model}"
                ))
            } else {
                unknown(model)
            }
        })
    }

    /// The side of the family's filters, for a family that has a choice.
    pub fn kernel_mut(&mut self) -> Option<&mut i64> {
        match self {
            Self::InverseFlow(config) => Some(&mut config.kernel),
            Self::Snf(config) => Some(&mut config.kernel),
            Self::Emerging(config) => Some(&mut config.kernel),
            Self::Finc(config) => Some(&mut config.kernel),
            Self::Cinc(config) => Some(&mut config.kernel),
            Self::Woodbury(_) | Self::Butterfly(_) | Self::MaCow(_) => None,
        }
    }

    /// Whether the family permutes the channels itself. Those that do not need a fixed permutation before a coupling,
    /// or half of the channels would never be transformed by one.
    pub fn permutes_channels(&self) -> bool {
        match self {
            Self::Snf(_)
            | Self::Emerging(_)
            | Self::Woodbury(_)
            | Self::Butterfly(_)
            | Self::MaCow(_) => true,
            Self::InverseFlow(_) | Self::Finc(_) | Self::Cinc(_) => false,
        }
    }

    /// Whether the family's layers begin with an ActNorm, so that the step needs none before them.
    pub fn brings_actnorm(&self) -> bool {
        matches!(self, Self::MaCow(_))
    }

    /// The layers of one step on an image of shape `chw`, each with its variables in a sub-path of its own.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options or a number of channels that the layer cannot have.
    pub fn layers(&self, vs: &nn::Path, chw: [i64; 3]) -> Result<Sequential> {
        let [channels, ..] = chw;
        let steps = Sequential::new();
        Ok(match self {
            Self::InverseFlow(config) => {
                let conv = InvConvConfig {
                    init_std: config.init_std,
                    bound: config.bound,
                    ..InvConvConfig::new(channels, config.kernel)
                };
                steps.push("inv_conv", InvConv::new(&(vs / "inv_conv"), &conv)?)
            }
            Self::Snf(config) => {
                let layer = SelfNorm::new(&(vs / "self_norm"), channels, config)?;
                steps.push("self_norm", layer)
            }
            Self::Emerging(config) => {
                let layer = Emerging::new(&(vs / "emerging"), channels, config)?;
                steps.push("emerging", layer)
            }
            Self::Finc(config) => steps.push("finc", Finc::new(&(vs / "finc"), channels, config)?),
            Self::Cinc(config) => steps.push("cinc", Cinc::new(&(vs / "cinc"), channels, config)?),
            Self::Woodbury(config) => woodbury_mixing(vs, chw, config.ranks)?,
            Self::Butterfly(config) => butterfly_mixing(vs, chw, config.factors, config.init)?,
            Self::MaCow(config) => macow_mixing(vs, chw, config.units, config.kernel)?,
        })
    }
}
