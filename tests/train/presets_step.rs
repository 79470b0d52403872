//! Every preset on a GPU: its model is built there and takes one training step, with one image of a reduced size.

use crate::gpu::gpu;
use inverse_flow::flows::Cx;
use inverse_flow::models::{ModelConfig, Overrides};
use inverse_flow::train::{build_model, presets, Given, Learner, RunConfig};
use std::collections::BTreeSet;
use tch::{Device, Kind, Tensor};

/// The longest side of an image here, where presets have 28 to 256: all layers are there, with all of their channels and
/// filters, for a sixth of the work or less. What the host emulates is too slow for more.
const LONGEST: i64 = 16;

/// The configuration with an image of at most [`LONGEST`].
fn reduced(mut config: RunConfig) -> RunConfig {
    let [channels, height, width] = config.model.image();
    if height.max(width) > LONGEST {
        let image = Some([channels, LONGEST, LONGEST]);
        let change = Overrides {
            image,
            ..Overrides::default()
        };
        config.model.change(&change).unwrap();
    }
    config
}

#[test]
fn cuda_every_preset_takes_a_training_step() {
    let Some(device) = gpu("cuda_every_preset_takes_a_training_step") else {
        return;
    };
    // presets that differ in the size of the batch or of the image only are one model here
    let mut stepped = BTreeSet::new();
    for preset in presets::all() {
        let config = reduced(presets::by_name(&preset.name).unwrap());
        if stepped.insert(serde_json::to_string(&config.model).unwrap()) {
            take_a_step(&preset.name, &config, device);
        }
    }
    println!(
        "{} models of {} presets",
        stepped.len(),
        presets::all().len()
    );
}

/// One image, the first batch and a step of the optimiser.
fn take_a_step(name: &str, config: &RunConfig, device: Device) {
    let (mut model, vs) = build_model(config, device).unwrap();
    let image = image_of(&config.model, device);
    let noise = image.full_like(0.5);
    let condition = model.condition(&[1]).unwrap();
    let cx = Cx {
        noise: Some(&noise),
        condition: condition.as_ref(),
        ..Cx::default()
    };
    tch::no_grad(|| model.initialize(&image, cx)).unwrap();
    let mut learner = Learner::new(model, vs, &config.train).unwrap();
    let given = Given {
        noise: &noise,
        condition: condition.as_ref(),
    };
    let step = learner.step(&image, given, config.train.lr).unwrap();
    assert!(!step.skipped, "{name}: {step:?}");
    assert!(
        step.nll.is_finite() && step.grad_norm > 0.0,
        "{name}: {step:?}"
    );
    println!("{name}: {} nats", step.nll);
    let elsewhere = learner
        .vs
        .variables()
        .into_values()
        .filter(|t| t.device() != device);
    assert_eq!(elsewhere.count(), 0, "{name}: variables beside the GPU");
}

/// Pixels of all values in no order that repeats.
fn image_of(model: &ModelConfig, device: Device) -> Tensor {
    let [c, h, w] = model.image();
    let pixels = Tensor::arange(c * h * w, (Kind::Int64, device)) * 7919;
    pixels
        .remainder(257)
        .clamp(0, 255)
        .to_kind(Kind::Float)
        .view([1, c, h, w])
}
