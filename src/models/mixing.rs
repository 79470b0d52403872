//! The layers in which the Glow-like flow families differ.

use crate::flows::{
    Cinc, CincConfig, Emerging, EmergingConfig, Finc, FincConfig, InvConv, InvConvConfig, SelfNorm,
    SelfNormConfig, Sequential,
};
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::nn;

/// What mixes pixels and channels in every step of a [`Glow`](super::Glow), with the family's own options.
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

impl Mixing {
    /// Every family with the options it was published with.
    pub fn all() -> Vec<Self> {
        vec![
            Self::InverseFlow(InverseFlowConfig::default()),
            Self::Snf(SelfNormConfig::default()),
            Self::Emerging(EmergingConfig::default()),
            Self::Finc(FincConfig::default()),
            Self::Cinc(CincConfig::default()),
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
        }
    }

    /// The side of the family's filters, for a family that has a choice.
    pub fn kernel_mut(&mut self) -> Option<&mut i64> {
        match self {
            Self::InverseFlow(config) => Some(&mut config.kernel),
            Self::Snf(config) => Some(&mut config.kernel),
            Self::Emerging(config) => Some(&mut config.kernel),
            Self::Finc(config) => Some(&mut config.kernel),
            Self::Cinc(config) => Some(&mut config.kernel),
        }
    }

    /// Whether the family permutes the channels itself. Those that do not need a fixed permutation before a coupling,
    /// or half of the channels would never be transformed by one.
    pub fn permutes_channels(&self) -> bool {
        match self {
            Self::Snf(_) | Self::Emerging(_) => true,
            Self::InverseFlow(_) | Self::Finc(_) | Self::Cinc(_) => false,
        }
    }

    /// The layers of one step on an image of `[channels, ..]`, each with its variables in a sub-path of its own.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options or a number of channels that the layer cannot have.
    pub fn layers(&self, vs: &nn::Path, [channels, ..]: [i64; 3]) -> Result<Sequential> {
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
        })
    }
}
