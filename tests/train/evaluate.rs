//! Likelihoods image by image: what they depend on, samples of the noise, numbers that are not finite.

use crate::device::device;
use crate::support::{images, ScaleFlow};
use inverse_flow::data::{evaluation_noise, Dataset};
use inverse_flow::flows::Cx;
use inverse_flow::models::MultiScale;
use inverse_flow::train::{build_model, Dequantization, Evaluation, LogProbs, RunConfig};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const IMAGES: usize = 11;

fn data(model: &MultiScale) -> Dataset {
    let chw = model.image_shape();
    let pixels = images(IMAGES as i64, chw).to_device(Device::Cpu);
    let pixels = Vec::<u8>::try_from(pixels.to_kind(Kind::Uint8).view(-1)).unwrap();
    Dataset::new("test", chw, pixels, vec![0; IMAGES]).unwrap()
}

fn evaluation(batch_size: usize) -> Evaluation {
    Evaluation {
        batch_size,
        dequantize: Dequantization::Uniform,
        seed: 5,
        device: device(),
    }
}

/// A model of the family with numbers that differ from image to image.
fn model(family: &str) -> (MultiScale, VarStore) {
    let config = RunConfig::resolve(Some(&format!("quick/{family}")), None).unwrap();
    let (mut model, vs) = build_model(&config, device()).unwrap();
    let first = images(4, model.image_shape());
    tch::no_grad(|| model.initialize(&first, Cx::default())).unwrap();
    (model, vs)
}

fn only(log_probs: &LogProbs) -> Vec<f64> {
    log_probs.of_images().map(|samples| samples[0]).collect()
}

#[test]
fn the_likelihood_of_an_image_depends_on_the_seed_and_its_index_alone() {
    let (model, _vs) = model("inverse-flow");
    let data = data(&model);
    let with = |batch_size| only(&evaluation(batch_size).log_probs(&model, &data, 1).unwrap());
    let all = with(IMAGES);
    for batch_size in [1, 3, 64] {
        for (i, (a, b)) in with(batch_size).iter().zip(&all).enumerate() {
            let apart = (a - b).abs() / b.abs();
            assert!(
                apart < 1e-5,
                "image {i}, batch size {batch_size}: {a} and {b}"
            );
        }
    }
    let other = Evaluation {
        seed: 6,
        ..evaluation(IMAGES)
    };
    let other = only(&other.log_probs(&model, &data, 1).unwrap());
    for (a, b) in other.iter().zip(&all) {
        assert!((a - b).abs() / b.abs() > 1e-5, "{a} and {b}");
    }
    // what is left out changes nothing in what comes before it
    let few = evaluation(IMAGES).log_probs(&model, &data.subset(0..4), 1);
    for (a, b) in only(&few.unwrap()).iter().zip(&all) {
        assert!((a - b).abs() / b.abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn samples_are_those_of_the_noise_of_every_image() {
    let vs = VarStore::new(device());
    let model = ScaleFlow::build(&vs.root(), [1, 3, 5]);
    let data = data(&model);
    let (samples, evaluation) = (3, evaluation(4));
    let found = evaluation.log_probs(&model, &data, samples).unwrap();
    assert_eq!((found.len(), found.dimensions()), (IMAGES, 15));
    for (i, of_image) in found.of_images().enumerate() {
        for (sample, found) in of_image.iter().enumerate() {
            let noise = evaluation_noise(5, i..i + 1, sample as u64, [1, 3, 5]).unwrap();
            let noise = noise.to_device(device());
            let x = images(IMAGES as i64, [1, 3, 5]).narrow(0, i as i64, 1);
            let cx = Cx {
                noise: Some(&noise),
                ..Cx::default()
            };
            let expected = model.log_prob(&x, cx).unwrap().double_value(&[0]);
            let apart = (found - expected).abs() / expected.abs();
            assert!(
                apart < 1e-6,
                "image {i}, sample {sample}: {found} and {expected}"
            );
        }
    }
    let plain = evaluation.log_probs(&model, &data, 1).unwrap();
    assert_eq!(
        only(&plain),
        only(&found),
        "sample 0 is the plain evaluation's"
    );
    assert_eq!(
        plain.likelihood(),
        evaluation.likelihood(&model, &data).unwrap()
    );
    for (bound, mean) in found.importance_weighted().iter().zip(found.means()) {
        assert!(*bound > mean, "{bound} and {mean}");
    }
    for (dequantize, samples) in [(Dequantization::Uniform, 0), (Dequantization::Midpoint, 2)] {
        let evaluation = Evaluation {
            dequantize,
            ..evaluation
        };
        let err = evaluation.log_probs(&model, &data, samples).unwrap_err();
        assert!(err.to_string().contains("--dequantize-samples"), "{err}");
    }
}

#[test]
fn images_whose_likelihood_is_not_finite_are_found_with_the_place() {
    let vs = VarStore::new(device());
    let model = ScaleFlow::build(&vs.root(), [1, 3, 5]);
    let data = data(&model);
    let evaluation = evaluation(4);
    let log_probs = || evaluation.log_probs(&model, &data, 2).unwrap();
    assert!(log_probs().not_finite().is_empty());
    let variable = |name: &str| vs.variables()[name].shallow_clone();
    // so far that its square is no float32 number, but it itself is one
    let _ = tch::no_grad(|| variable("levels.0.shift").fill_(1e20));
    let found = log_probs();
    assert_eq!(found.not_finite(), (0..IMAGES).collect::<Vec<_>>());
    let place = |found| {
        evaluation
            .where_not_finite(&model, &data, 6, found)
            .unwrap()
    };
    assert!(
        place(&found).contains("density of the latents"),
        "{}",
        place(&found)
    );
    let _ = tch::no_grad(|| variable("levels.0.shift").fill_(f64::NAN));
    assert_eq!(place(&log_probs()), "from layer `levels.0.scale` on");
}

#[test]
fn midpoints_take_no_noise() {
    let vs = VarStore::new(device());
    let model = ScaleFlow::build(&vs.root(), [1, 3, 5]);
    let midpoint = Evaluation {
        dequantize: Dequantization::Midpoint,
        ..evaluation(4)
    };
    let found = only(&midpoint.log_probs(&model, &data(&model), 1).unwrap());
    let x = images(IMAGES as i64, [1, 3, 5]);
    let expected = model.log_prob(&x, Cx::default()).unwrap();
    let found = Tensor::from_slice(&found).to_device(device());
    let apart = (found - &expected).abs().max().double_value(&[]);
    assert!(apart < 1e-4, "{apart:e}");
}
