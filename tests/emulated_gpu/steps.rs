//! What a training step, a forward pass and sampling ask of a GPU: the counts of `steps.json`, neither more nor fewer.
//!
//! To write the file again after a change that is meant to change it:
//!
//! ```sh
//! STEPS=write scripts/emulated_gpu.sh cargo test --release --test emulated_gpu steps::
//! ```

use crate::bindings::{emulated, Counts, Driver};
use inverse_flow::data::{stream, uniform_noise, Dataset, Purpose};
use inverse_flow::flows::Cx;
use inverse_flow::models::{Latents, ModelConfig, MultiScale};
use inverse_flow::nn::Precision;
use inverse_flow::train::{
    build_model, prior_latents, Dequantization, Evaluation, Learner, RunConfig,
};
use serde_json::{json, Map, Value};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The two networks whose depth the counts are made for, and every family's own layers on the smallest.
const PRESETS: [&str; 11] = [
    "table3/inverse-flow",
    "table6/inverse-flow",
    "quick/inverse-flow",
    "quick/snf",
    "quick/emerging",
    "quick/finc",
    "quick/cinc",
    "quick/woodbury",
    "quick/butterfly",
    "quick/macow",
    "quick/mintnet",
];

/// The network that is counted in every precision too, and while it rebuilds its activations.
const ALL_WAYS: &str = "table6/inverse-flow";

/// The network of a preset; of the tables' the depth counts and not the width.
fn config(preset: &str) -> RunConfig {
    let mut config = RunConfig::resolve(Some(preset), None).unwrap();
    if let (true, ModelConfig::Glow(model)) = (preset.starts_with("table"), &mut config.model) {
        model.coupling.width = 8;
    }
    config
}

fn decode(model: &MultiScale, latents: &Latents) {
    tch::no_grad(|| model.decode(latents, Cx::default())).unwrap();
}

/// Launches and waits of a step, of a forward pass and of sampling 100 images after it, when each has run once.
fn counted(config: &RunConfig, device: Device, driver: &Driver) -> Value {
    let (mut model, vs) = build_model(config, device).unwrap();
    let [c, h, w] = config.model.image();
    let mut rng = stream(0, Purpose::Noise, 0);
    let mut random = || uniform_noise(&mut rng, &[2, c, h, w], Kind::Float, device).unwrap();
    let (x, noise) = ((random() * 256.0).floor(), random());
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    tch::no_grad(|| model.initialize(&x, cx)).unwrap();
    let latents = |images| prior_latents(&model, images, 0, device).unwrap();
    let (one, hundred) = (latents(1), latents(100));
    // sampling takes longest, so its first run is a small one; it is before the steps, after which inverses are made anew
    decode(&model, &one);
    let mut learner = Learner::new(model, vs, &config.train).unwrap();
    let of = |counts: Counts| json!({"launches": counts.launches, "waits": counts.waits});
    let twice = |work: &mut dyn FnMut()| {
        work();
        of(driver.count(work))
    };
    let step = twice(&mut || learner.queue(&x, &noise, 1e-6).unwrap());
    learner.read().unwrap();
    let model = &learner.model;
    let forward = twice(&mut || drop(tch::no_grad(|| model.log_prob(&x, cx)).unwrap()));
    let sample_100 = of(driver.count(|| decode(model, &hundred)));
    json!({"step": step, "forward": forward, "sample_100": sample_100})
}

#[test]
fn cuda_a_step_makes_as_many_launches_as_are_written_down() {
    let test = "cuda_a_step_makes_as_many_launches_as_are_written_down";
    let Some((_turn, driver, [device, _])) = emulated(test) else {
        return;
    };
    let mut all = Map::new();
    for preset in PRESETS {
        all.insert(preset.into(), counted(&config(preset), device, &driver));
    }
    for precision in [Precision::Tf32, Precision::BFloat16] {
        let mut config = config(ALL_WAYS);
        config.precision = precision;
        let name = format!("{ALL_WAYS}, {precision}");
        all.insert(name, counted(&config, device, &driver));
    }
    let mut rebuilt = config(ALL_WAYS);
    rebuilt.train.rebuild_activations = true;
    let name = format!("{ALL_WAYS}, activations rebuilt");
    all.insert(name, counted(&rebuilt, device, &driver));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulated_gpu/steps.json");
    let text = format!("{:#}\n", Value::from(all));
    if std::env::var("STEPS").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        written,
        "the counts now, and those of {}",
        path.display()
    );
}

#[test]
fn cuda_an_evaluation_uploads_once_and_waits_once_for_every_batch_and_sample() {
    let test = "cuda_an_evaluation_uploads_once_and_waits_once_for_every_batch_and_sample";
    let Some((_turn, driver, [device, _])) = emulated(test) else {
        return;
    };
    let config = config("quick/inverse-flow");
    let (mut model, _vs) = build_model(&config, device).unwrap();
    let [c, h, w] = config.model.image();
    let x = Tensor::zeros([2, c, h, w], (Kind::Float, device));
    tch::no_grad(|| model.initialize(&x, Cx::default())).unwrap();
    let pixels = vec![7; (10 * c * h * w) as usize];
    let data = Dataset::new("test", [c, h, w], pixels, vec![0; 10]).unwrap();
    let evaluation = Evaluation {
        batch_size: 4,
        dequantize: Dequantization::Uniform,
        seed: 0,
        device,
    };
    let counted = |samples| {
        let work = || drop(evaluation.log_probs(&model, &data, samples).unwrap());
        work();
        driver.count(work)
    };
    let (one, two) = (counted(1), counted(2));
    let of_model = driver.count(|| drop(tch::no_grad(|| model.log_prob(&x, Cx::default()))));
    // 3 batches: images and noise in one copy, the numbers in another
    assert_eq!([one.waits, one.downloads], [3, 3]);
    assert_eq!(one.uploads - 3 * of_model.uploads, 3);
    // more samples bring their own noise, and nothing is waited for in between
    assert_eq!([two.waits, two.downloads], [3, 3]);
    assert_eq!(two.uploads - 6 * of_model.uploads, 6);
}
