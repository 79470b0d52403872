//! Every method on one backbone with one recipe: the comparison that the published tables do not make.
//!
//! ```text
//! L=2, K=16;  step:  actnorm  layer  shared spline of 10 bins, tail 20  [reverse channels]  coupling of width 512
//! ```
//!
//! The channels are reversed where the layer does not permute them itself. Two regimes: the small net T, whose last
//! layer starts at zero, and the wide net W.

use super::super::{Decay, RunConfig, TrainConfig};
use super::parts::{augmented, coupling, run, shared_spline, Preset};
use crate::data::DataName;
use crate::flows::SelfNormConfig;
use crate::models::{CouplingConfig, CouplingForm, GlowConfig, Mixing, Net};

pub(super) fn presets() -> Vec<Preset> {
    let nets = [
        ("harness", "small net T", coupling(Net::T, 512, true)),
        ("harness-wide", "wide net W", coupling(Net::W, 512, false)),
    ];
    let mut presets = Vec::new();
    for (table, data) in [("table3", DataName::Mnist), ("table6", DataName::Cifar10)] {
        for (suffix, size, coupling) in &nets {
            for mixing in Mixing::all() {
                let model = mixing.name();
                let about = format!("{model} on {data}, common backbone of all methods, {size}");
                let config = config(data, mixing, coupling);
                presets.push(Preset::new(
                    format!("{table}/{model}-{suffix}"),
                    about,
                    config,
                ));
            }
        }
    }
    presets
}

fn config(data: DataName, mixing: Mixing, coupling: &CouplingConfig) -> RunConfig {
    let colour = data == DataName::Cifar10;
    let mixing = match mixing {
        // the weight that was published for each data set
        Mixing::Snf(snf) => Mixing::Snf(SelfNormConfig {
            lambda: if colour { 1000.0 } else { 100.0 },
            ..snf
        }),
        other => other,
    };
    let model = GlowConfig {
        image: data.chw(),
        levels: 2,
        steps: 16,
        actnorm: true,
        reverse_channels: !mixing.permutes_channels(),
        mixing,
        spline: shared_spline(10, 20.0),
        last_spline: true,
        mix_twice: false,
        coupling_form: CouplingForm::Affine,
        coupling: coupling.clone(),
        split_prior: Some(512),
        alpha: 1e-6,
        classes: None,
    };
    let train = TrainConfig {
        epochs: 100,
        lr: 1e-3,
        decay: Decay::Exponential { factor: 0.97 },
        ..TrainConfig::default()
    };
    let config = run(data, model, train);
    if colour {
        augmented(config)
    } else {
        config
    }
}
