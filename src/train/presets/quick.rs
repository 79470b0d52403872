//! Small models that minutes are enough for: one backbone for the families that differ in one layer, and small forms of
//! the published networks of the others.

use super::super::{Decay, RunConfig, TrainConfig};
use super::parts::{coupling, run, shared_spline, Preset, DEFAULT};
use crate::data::DataName;
use crate::models::{
    ButterflyConfig, Classes, CouplingForm, GlowConfig, MaCowBlock, MaCowConfig, MaCowSplitBlock,
    MintNetConfig, Mixing, ModelConfig, Net, WoodburyConfig,
};

pub(super) fn presets() -> Vec<Preset> {
    let networks = networks();
    let mut layers = Mixing::all();
    layers.retain(|mixing| networks.iter().all(|own| own.name() != mixing.name()));
    let families = layers.into_iter().map(|mixing| {
        let name = format!("quick/{}", mixing.name());
        let about = if name == DEFAULT {
            "small Inverse-Flow on the built-in digits; minutes on two CPU cores".to_owned()
        } else {
            format!(
                "small {} on the built-in digits, on the backbone of {DEFAULT}",
                mixing.name()
            )
        };
        Preset::new(name, about, on_glyphs(model(DataName::Glyphs, mixing)))
    });
    let published = networks.iter().map(|own| {
        let name = own.name();
        let about = format!("small form of {name}'s published network on the built-in digits");
        Preset::new(format!("quick/{name}"), about, on_glyphs(own.clone()))
    });
    let mut presets: Vec<_> = families.chain(published).collect();
    let about =
        "Inverse-Flow with two more steps a level, on MNIST; a quarter of an hour on two CPU cores";
    presets.insert(1, Preset::new("quick/mnist", about, on_mnist()));
    let about =
        "the same one given the digit: --conditional; a quarter of an hour on two CPU cores";
    presets.insert(
        2,
        Preset::new("quick/mnist-conditional", about, of_digits()),
    );
    presets
}

/// A small model that learns fast: what minutes on two CPU cores are best spent on.
///
/// Measured on MNIST in equal time, the spline matters most: behind ActNorm, 32 bins over [-6, 6] resolve the shape of
/// the dequantisation noise, and 500 steps with them go as far as many epochs with 8 bins over [-20, 20].
fn model(data: DataName, mixing: Mixing) -> GlowConfig {
    GlowConfig {
        image: data.chw(),
        levels: 2,
        steps: 4,
        actnorm: true,
        reverse_channels: !mixing.permutes_channels(),
        mixing,
        spline: shared_spline(32, 6.0),
        last_spline: true,
        mix_twice: false,
        coupling_form: CouplingForm::Affine,
        coupling: coupling(Net::W, 64, false),
        split_prior: Some(64),
        alpha: 1e-6,
        classes: None,
    }
}

/// Small forms of the networks that families were published with.
fn networks() -> Vec<ModelConfig> {
    let (image, width) = (DataName::Glyphs.chw(), 64);
    let woodbury = WoodburyConfig {
        image,
        steps: 4,
        width,
        ..WoodburyConfig::table6()
    };
    let butterfly = ButterflyConfig {
        image,
        steps: 4,
        width,
        ..ButterflyConfig::table6()
    };
    // one channel cannot be coupled: no block before the first squeeze
    let macow = MaCowConfig {
        image,
        units: 1,
        bottom: None,
        internal: vec![MaCowSplitBlock {
            steps: vec![2],
            factor: 2,
            width,
        }],
        top: MaCowBlock { steps: 2, width },
        ..MaCowConfig::table6()
    };
    let mintnet = MintNetConfig {
        image,
        layers: 6,
        subsamplings: 1,
        latent: 16,
        ..MintNetConfig::mnist()
    };
    vec![
        woodbury.into(),
        butterfly.into(),
        macow.into(),
        mintnet.into(),
    ]
}

fn on_glyphs(model: impl Into<ModelConfig>) -> RunConfig {
    let train = TrainConfig {
        epochs: 16,
        lr: 2e-3,
        decay: Decay::Exponential { factor: 0.8 },
        ..TrainConfig::default()
    };
    run(DataName::Glyphs, model, train)
}

/// [`on_mnist`], conditional on the digit.
fn of_digits() -> RunConfig {
    let mut config = on_mnist();
    *config.model.classes_mut() = Some(Classes::alike(DataName::Mnist.classes()));
    config
}

/// A quarter of an hour on two CPU cores; the rate falls so that the last epochs settle.
fn on_mnist() -> RunConfig {
    let mixing = Mixing::InverseFlow(Default::default());
    let model = GlowConfig {
        steps: 6,
        ..model(DataName::Mnist, mixing)
    };
    let train = TrainConfig {
        epochs: 7,
        lr: 2e-3,
        warmup_epochs: 0.2,
        decay: Decay::Exponential { factor: 0.7 },
        ..TrainConfig::default()
    };
    run(DataName::Mnist, model, train)
}
