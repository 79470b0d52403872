//! What presets are made of.

use super::super::{RunConfig, TrainConfig};
use crate::data::{DataConfig, DataName};
use crate::flows::Bits;
use crate::models::{CouplingConfig, ModelConfig, Net, SplineConfig};
use crate::nn::Precision;

/// What `train` starts from when nothing else is said: needs no download.
pub const DEFAULT: &str = "quick/inverse-flow";

/// A name, what it is for, and the configuration it stands for.
#[derive(Debug, Clone)]
pub struct Preset {
    /// `group/row`.
    pub name: String,
    /// One line for lists.
    pub about: String,
    pub(super) config: RunConfig,
}

impl Preset {
    pub(super) fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        config: RunConfig,
    ) -> Self {
        let name = name.into();
        Self {
            config: RunConfig {
                preset: Some(name.clone()),
                ..config
            },
            name,
            about: about.into(),
        }
    }
}

pub(super) fn run(data: DataName, model: impl Into<ModelConfig>, train: TrainConfig) -> RunConfig {
    RunConfig {
        preset: None,
        seed: 0,
        model: model.into(),
        precision: Precision::Float32,
        bits: Bits::ALL,
        data: DataConfig::new(data),
        init_from: None,
        train,
        changes: Vec::new(),
    }
}

pub(super) fn augmented(config: RunConfig) -> RunConfig {
    RunConfig {
        data: DataConfig {
            augment: true,
            ..config.data
        },
        ..config
    }
}

/// One spline for the whole tensor.
pub(super) fn shared_spline(bins: i64, tail: f64) -> Option<SplineConfig> {
    Some(SplineConfig {
        bins,
        tail,
        shared: true,
    })
}

/// A spline for each element, with the tables' tails.
pub(super) fn elementwise_spline(bins: i64) -> Option<SplineConfig> {
    Some(SplineConfig {
        bins,
        tail: 20.0,
        shared: false,
    })
}

pub(super) fn coupling(net: Net, width: i64, zero_init_last: bool) -> CouplingConfig {
    CouplingConfig {
        net,
        width,
        zero_init_last,
    }
}
