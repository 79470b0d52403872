//! Named starting points, after the rows of the paper's tables they stand for.

use super::{Decay, RunConfig, TrainConfig};
use crate::data::{DataConfig, DataName};
use crate::models::{CouplingConfig, ModelConfig, Net, SplineConfig};
use crate::{Error, Result};

/// What `train` starts from when nothing else is said: needs no download.
pub const DEFAULT: &str = "quick/inverse-flow";

/// A name, what it is for, and the configuration it stands for.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// `group/row`.
    pub name: &'static str,
    /// One line for lists.
    pub about: &'static str,
    build: fn() -> RunConfig,
}

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: DEFAULT,
        about: "small Inverse-Flow on the built-in digits; minutes on two CPU cores",
        build: quick_inverse_flow,
    },
    Preset {
        name: "quick/mnist",
        about: "the same model on MNIST",
        build: quick_mnist,
    },
    Preset {
        name: "table3/inverse-flow",
        about: "Inverse-Flow on MNIST, L=2 K=16, net Z of width 512",
        build: table3_inverse_flow,
    },
    Preset {
        name: "table6/inverse-flow",
        about: "Inverse-Flow on CIFAR-10, L=2 K=16, net T of width 512",
        build: table6_inverse_flow,
    },
];

/// The configuration of the preset `name`.
///
/// # Errors
/// An unknown name; the message lists all there are.
pub fn by_name(name: &str) -> Result<RunConfig> {
    match PRESETS.iter().find(|preset| preset.name == name) {
        Some(preset) => Ok(RunConfig {
            preset: Some(preset.name.into()),
            ..(preset.build)()
        }),
        None => {
            let known: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            Err(Error::config(format!(
                "unknown preset `{name}`; there are: {}",
                known.join(", ")
            )))
        }
    }
}

fn run(data: DataName, model: ModelConfig, train: TrainConfig) -> RunConfig {
    RunConfig {
        preset: None,
        seed: 0,
        model,
        data: DataConfig::new(data),
        train,
    }
}

/// A small model that learns fast: what minutes on two CPU cores are best spent on.
///
/// Measured on MNIST in equal time, the spline matters most: behind ActNorm, 32 bins over [-6, 6] resolve the shape of
/// the dequantisation noise, and 500 steps with them go as far as many epochs with 8 bins over [-20, 20].
fn quick_inverse_flow() -> RunConfig {
    let model = ModelConfig {
        steps: 4,
        kernel: 3,
        spline: Some(SplineConfig {
            bins: 32,
            tail: 6.0,
            shared: true,
        }),
        reverse_channels: true,
        coupling: CouplingConfig {
            net: Net::W,
            width: 64,
            zero_init_last: false,
        },
        split_prior: Some(64),
        ..table3_inverse_flow().model
    };
    let train = TrainConfig {
        epochs: 16,
        lr: 2e-3,
        decay: Decay::Exponential { factor: 0.8 },
        ..TrainConfig::default()
    };
    run(DataName::Glyphs, model, train)
}

/// A quarter of an hour on two CPU cores; the rate falls so that the last epochs settle.
fn quick_mnist() -> RunConfig {
    let quick = quick_inverse_flow();
    let model = ModelConfig {
        steps: 6,
        ..quick.model
    };
    let train = TrainConfig {
        epochs: 7,
        warmup_epochs: 0.2,
        decay: Decay::Exponential { factor: 0.7 },
        ..quick.train
    };
    run(DataName::Mnist, model, train)
}

/// The row of Table 3 by the recipe of the published code (`if_glow_mnist.py`), with the gradient clipped where
/// that code clamps the weights.
fn table3_inverse_flow() -> RunConfig {
    let model = ModelConfig {
        model: "inverse-flow".into(),
        image: DataName::Mnist.chw(),
        levels: 2,
        steps: 16,
        kernel: 2,
        actnorm: true,
        spline: Some(SplineConfig {
            bins: 5,
            tail: 20.0,
            shared: false,
        }),
        reverse_channels: false,
        coupling: CouplingConfig {
            net: Net::Z,
            width: 512,
            zero_init_last: false,
        },
        split_prior: Some(512),
        alpha: 1e-6,
        init_std: 0.01,
    };
    let train = TrainConfig {
        epochs: 2000,
        lr: 1e-5,
        decay: Decay::Exponential { factor: 0.9617 },
        ..TrainConfig::default()
    };
    run(DataName::Mnist, model, train)
}

/// The row of Table 6 by the recipe of the published code (`if_glow_cifar.py`), with the gradient clipped where
/// that code clamps the weights.
fn table6_inverse_flow() -> RunConfig {
    let model = ModelConfig {
        image: DataName::Cifar10.chw(),
        kernel: 3,
        actnorm: false,
        spline: Some(SplineConfig {
            bins: 10,
            tail: 20.0,
            shared: true,
        }),
        // Zero-initialised: 32 couplings without ActNorm that start at random multiply one another's scales, and on
        // logit-space CIFAR-10 the first gradient overflows float32 (measured).
        coupling: CouplingConfig {
            net: Net::T,
            width: 512,
            zero_init_last: true,
        },
        ..table3_inverse_flow().model
    };
    let train = TrainConfig {
        epochs: 10_000,
        batch_size: 140,
        lr: 1e-4,
        warmup_epochs: 2.0,
        decay: Decay::Milestones {
            factor: 0.10972,
            epochs: vec![2, 4, 10, 80, 240],
        },
        ..TrainConfig::default()
    };
    let config = run(DataName::Cifar10, model, train);
    RunConfig {
        data: DataConfig {
            augment: true,
            ..config.data
        },
        ..config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_survives_json_and_fits_its_data() {
        for preset in PRESETS {
            let config = by_name(preset.name).unwrap();
            config.validate().unwrap();
            assert_eq!(
                config.model.image,
                config.data.name.chw(),
                "{}",
                preset.name
            );
            let back = RunConfig::from_json(&config.to_json().unwrap()).unwrap();
            assert_eq!(back, config);
        }
    }

    #[test]
    fn an_unknown_preset_is_answered_with_all_names() {
        let message = by_name("table3/glow").unwrap_err().to_string();
        for preset in PRESETS {
            assert!(message.contains(preset.name), "{message}");
        }
    }
}
