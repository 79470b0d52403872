//! One optimisation step: what it measures, clips and skips, and how it stops.

use crate::device::device;
use crate::support::{images, ScaleFlow};
use inverse_flow::flows::Cx;
use inverse_flow::models::MODELS;
use inverse_flow::train::{build_model, Learner, RunConfig, TrainConfig, MAX_SKIPPED_IN_ROW};
use tch::{nn::VarStore, Kind, Tensor};

const CHW: [i64; 3] = [2, 3, 5];

fn learner(config: &TrainConfig) -> Learner {
    let vs = VarStore::new(device());
    let model = ScaleFlow::build(&vs.root(), CHW);
    Learner::new(model, vs, config).unwrap()
}

fn with_auxiliary_loss(auxiliary: f64) -> Learner {
    let vs = VarStore::new(device());
    let model = ScaleFlow::with_auxiliary(&vs.root(), CHW, auxiliary);
    Learner::new(model, vs, &TrainConfig::default()).unwrap()
}

fn values(learner: &Learner) -> Vec<(String, Vec<f32>)> {
    let mut values: Vec<_> = learner
        .vs
        .variables()
        .into_iter()
        .chain(learner.adam.state())
        .map(|(name, tensor)| (name, Vec::try_from(tensor.flatten(0, -1)).unwrap()))
        .collect();
    values.sort_by(|a, b| a.0.cmp(&b.0));
    values
}

fn noise() -> Tensor {
    Tensor::full([7, 2, 3, 5], 0.25, (Kind::Float, device()))
}

/// Images that make [`ScaleFlow`] return NaN.
fn poison() -> Tensor {
    images(7, CHW) * f64::NAN
}

#[test]
fn steps_lower_the_loss() {
    let mut learner = learner(&TrainConfig::default());
    let x = images(7, CHW);
    let first = learner.step(&x, &noise(), 0.02).unwrap();
    let mut last = first;
    for _ in 0..50 {
        last = learner.step(&x, &noise(), 0.02).unwrap();
    }
    assert!(!first.skipped && first.grad_norm > 0.0);
    assert!(last.nll < first.nll - 1.0, "{first:?} {last:?}");
}

#[test]
fn a_step_with_numbers_that_are_not_finite_changes_nothing_and_is_counted() {
    let mut learner = learner(&TrainConfig::default());
    learner.step(&images(7, CHW), &noise(), 0.02).unwrap();
    let before = values(&learner);
    let step = learner.step(&poison(), &noise(), 0.02).unwrap();
    assert!(step.skipped);
    assert_eq!(values(&learner), before);
    assert_eq!(learner.skipped(), (1, 1));
    assert!(
        !learner
            .step(&images(7, CHW), &noise(), 0.02)
            .unwrap()
            .skipped
    );
    assert_ne!(values(&learner), before);
    assert_eq!(learner.skipped(), (1, 0));
}

#[test]
fn steps_that_are_read_together_are_those_that_are_read_one_by_one() {
    for (clip_norm, clamp_weights) in [(Some(0.5), None), (None, Some(0.15))] {
        let config = TrainConfig {
            clip_norm,
            clamp_weights,
            ..TrainConfig::default()
        };
        let (mut each, mut together) = (learner(&config), learner(&config));
        let good = |step: u64| images(7, CHW) + step as f64;
        let mut sums = (0u64, 0.0, 0.0);
        // the first one is skipped: parameters that no step has set back yet stay beyond their limit
        let batches = [None, Some(1), Some(2), None, None, Some(3)];
        let start = values(&together);
        for (number, batch) in batches.into_iter().enumerate() {
            let x = batch.map_or_else(poison, good);
            let step = each.step(&x, &noise(), 0.02).unwrap();
            assert_eq!(step.skipped, batch.is_none());
            if !step.skipped {
                sums = (sums.0 + 1, sums.1 + step.nll, sums.2 + step.grad_norm);
            }
            let before = values(&together);
            together.queue(&x, &noise(), 0.02).unwrap();
            assert_eq!(values(&together) == before, step.skipped, "step {number}");
        }
        assert_ne!(values(&together), start);
        assert_eq!(values(&together), values(&each));
        let totals = together.read().unwrap().unwrap();
        assert_eq!((totals.steps, totals.taken), (6, 3));
        assert_eq!((totals.taken, totals.nll, totals.grad_norm), sums);
        assert_eq!((totals.in_row, totals.stopped_at), (0, None));
        assert_eq!(together.skipped(), each.skipped());
        assert_eq!(together.read().unwrap(), None);
        // the next reading starts anew
        together.queue(&poison(), &noise(), 0.02).unwrap();
        let totals = together.read().unwrap().unwrap();
        assert_eq!((totals.steps, totals.taken, totals.nll), (1, 0, 0.0));
        assert_eq!(together.skipped(), (4, 1));
    }
}

#[test]
fn a_gradient_that_is_infinite_changes_neither_parameters_nor_moments_nor_the_count() {
    let mut learner = learner(&TrainConfig::default());
    for _ in 0..2 {
        learner.step(&images(7, CHW), &noise(), 0.02).unwrap();
    }
    // the root is finite at 0, its derivative is not
    let mut kink = learner.vs.variables().remove("levels.0.kink").unwrap();
    tch::no_grad(|| {
        let _ = kink.fill_(0.0);
    });
    let before = values(&learner);
    let count = |values: &[(String, Vec<f32>)]| {
        let step = values.iter().find(|(name, _)| name == "step");
        step.unwrap().1.clone()
    };
    assert_eq!(count(&before), [2.0]);
    let step = learner.step(&images(7, CHW), &noise(), 0.02).unwrap();
    assert!(step.skipped && step.nll.is_finite() && step.grad_norm.is_infinite());
    assert_eq!(values(&learner), before);
}

#[test]
fn after_ten_skipped_steps_in_a_row_nothing_changes_until_they_are_read() {
    let mut learner = learner(&TrainConfig::default());
    learner.set_skipped((20, 3));
    let start = values(&learner);
    for batch in 0..20 {
        // the seventh is the tenth in a row
        let x = if batch < 7 { poison() } else { images(7, CHW) };
        learner.queue(&x, &noise(), 0.02).unwrap();
    }
    assert_eq!(values(&learner), start);
    let totals = learner.read().unwrap().unwrap();
    assert_eq!((totals.steps, totals.taken), (20, 0));
    assert_eq!((totals.in_row, totals.stopped_at), (10, Some(7)));
    assert_eq!(learner.skipped(), (27, 10));
    // a step that is taken ends the row
    learner.step(&images(7, CHW), &noise(), 0.02).unwrap();
    assert_eq!(learner.skipped(), (27, 0));
}

#[test]
fn ten_skipped_steps_in_a_row_stop_the_run_and_name_the_layer() {
    let mut learner = learner(&TrainConfig::default());
    for _ in 1..MAX_SKIPPED_IN_ROW {
        learner.step(&poison(), &noise(), 0.02).unwrap();
    }
    let error = learner.step(&poison(), &noise(), 0.02).unwrap_err();
    assert!(matches!(error, inverse_flow::Error::Diverged(_)));
    let message = error.to_string();
    assert!(message.contains("`levels.0.scale`"), "{message}");
    assert!(message.contains("10 steps in a row"), "{message}");
    assert_eq!(learner.skipped(), (10, 10));
}

#[test]
fn a_finite_loss_with_a_bad_gradient_names_the_parameter() {
    let mut learner = learner(&TrainConfig::default());
    // the root is finite at 0, its derivative is not
    let mut kink = learner.vs.variables().remove("levels.0.kink").unwrap();
    tch::no_grad(|| {
        let _ = kink.fill_(0.0);
    });
    let x = images(7, CHW);
    for _ in 1..MAX_SKIPPED_IN_ROW {
        let step = learner.step(&x, &noise(), 0.02).unwrap();
        assert!(step.skipped && step.nll.is_finite());
    }
    let message = learner.step(&x, &noise(), 0.02).unwrap_err().to_string();
    assert!(
        message.contains("gradient is that of `levels.0.kink`"),
        "{message}"
    );
}

#[test]
fn clipping_divides_the_gradient_by_its_norm_over_the_limit() {
    // Adam's first step hides a common factor of the gradient, its first moment shows it
    let moments = |clip_norm| {
        let mut learner = learner(&TrainConfig {
            clip_norm,
            ..TrainConfig::default()
        });
        let step = learner.step(&images(7, CHW), &noise(), 1e-3).unwrap();
        let state = learner.adam.state();
        let squares = state
            .iter()
            .filter(|(name, _)| name.starts_with("exp_avg."))
            .map(|(_, m)| (m * 10.0).square().sum(Kind::Double).double_value(&[]));
        (step.grad_norm, squares.sum::<f64>().sqrt())
    };
    let (norm, unclipped) = moments(None);
    assert!(norm > 1.0);
    assert!((unclipped / norm - 1.0).abs() < 1e-5, "{unclipped} {norm}");
    let (_, clipped) = moments(Some(0.5));
    assert!((clipped - 0.5).abs() < 1e-5, "{clipped}");
    let (_, below) = moments(Some(2.0 * norm));
    assert!((below / norm - 1.0).abs() < 1e-5, "{below} {norm}");
}

#[test]
fn entries_of_the_gradient_are_cut_off_before_its_norm_is_taken() {
    let step = |clip_value| {
        let config = TrainConfig {
            clip_value,
            clip_norm: None,
            ..TrainConfig::default()
        };
        let mut learner = learner(&config);
        let count: usize = learner.adam.params().iter().map(Tensor::numel).sum();
        let step = learner.step(&images(7, CHW), &noise(), 0.02).unwrap();
        (step.grad_norm, (count as f64).sqrt())
    };
    let (free, root) = step(None);
    let limit = 0.01 * free / root;
    let (cut, _) = step(Some(limit));
    assert!(
        cut > 0.0 && cut <= limit * root * (1.0 + 1e-5),
        "{cut} {free}"
    );
}

#[test]
fn auxiliary_losses_move_the_parameters_and_are_no_part_of_the_likelihood() {
    let x = images(7, CHW);
    let run = |weight| {
        let mut learner = with_auxiliary_loss(weight);
        let first = learner.step(&x, &noise(), 0.02).unwrap();
        for _ in 0..20 {
            learner.step(&x, &noise(), 0.02).unwrap();
        }
        let shift = learner.vs.variables()["levels.0.shift"].square();
        (first, shift.sum(Kind::Double).double_value(&[]))
    };
    let ((alone, free), (beside, held)) = (run(0.0), run(1e4));
    assert_eq!(alone.nll, beside.nll);
    assert!(beside.grad_norm > 100.0 * alone.grad_norm);
    assert!(held < 0.05 * free, "{held} {free}");
    let skipped = with_auxiliary_loss(f64::INFINITY).step(&x, &noise(), 0.02);
    assert!(skipped.unwrap().skipped);
}

#[test]
fn weights_are_clamped_only_where_asked_for() {
    let limit = 0.01;
    let config = TrainConfig {
        clamp_weights: Some(limit),
        ..TrainConfig::default()
    };
    let largest = |config: &TrainConfig| {
        let mut learner = learner(config);
        learner.step(&images(7, CHW), &noise(), 0.02).unwrap();
        let params = learner.adam.params().iter();
        let sizes = params.map(|param| param.abs().max().double_value(&[]));
        sizes.fold(0.0, f64::max)
    };
    assert!(largest(&config) <= limit * (1.0 + 1e-6));
    assert!(largest(&TrainConfig::default()) > 10.0 * limit);
}

/// torch's fused step on a GPU refuses a gradient with other strides than its parameter, and one that shares memory with
/// another. A step copies the former and refuses the latter: no family needs the one or has the other.
#[test]
fn every_family_has_gradients_laid_out_like_their_parameters() {
    let mut copied = Vec::new();
    for family in MODELS {
        tch::manual_seed(5);
        let config = RunConfig::resolve(Some(&format!("quick/{family}")), None).unwrap();
        let (mut model, vs) = build_model(&config, device()).unwrap();
        let [c, h, w] = model.image_shape();
        let options = (Kind::Float, device());
        let pixels = Tensor::arange(3 * c * h * w, options) * 37.0;
        let x = pixels.remainder(256.0).view([3, c, h, w]);
        let noise = Tensor::full(x.size(), 0.25, options);
        let cx = Cx {
            noise: Some(&noise),
            ..Cx::default()
        };
        tch::no_grad(|| model.initialize(&x, cx)).unwrap();
        let mut learner = Learner::new(model, vs, &config.train).unwrap();
        for rebuild in [false, true] {
            learner.rebuild_activations(rebuild);
            let (_, grads) = learner.gradients(&x, &noise).unwrap();
            let params = learner.adam.names().iter().zip(learner.adam.params());
            for ((name, param), grad) in params.zip(&grads).filter(|(_, grad)| grad.defined()) {
                assert_eq!(
                    (grad.size(), grad.kind(), grad.device()),
                    (param.size(), param.kind(), param.device()),
                    "{family}: {name}"
                );
                if !grad.is_contiguous() || !param.is_contiguous() {
                    let strides = (grad.size(), grad.stride(), param.stride());
                    copied.push(format!("{family}, rebuilt {rebuild}: {name} {strides:?}"));
                }
            }
            // what shares memory is refused here
            let scale = Tensor::from(2f32).to_device(device());
            let grads: Vec<_> = learner
                .adam
                .params()
                .iter()
                .zip(grads)
                .map(|(param, grad)| match grad.defined() {
                    true => grad,
                    false => param.zeros_like(),
                })
                .collect();
            let step = learner.adam.step(&grads, 1e-9, Some(&scale), None);
            step.unwrap_or_else(|err| panic!("{family}, rebuilt {rebuild}: {err}"));
        }
    }
    assert!(copied.is_empty(), "{}", copied.join("\n"));
}

#[test]
fn a_batch_in_parts_has_the_gradient_of_the_whole_in_every_family() {
    for family in MODELS {
        tch::manual_seed(5);
        let mut config = RunConfig::resolve(Some(&format!("quick/{family}")), None).unwrap();
        let (mut model, vs) = build_model(&config, device()).unwrap();
        let [c, h, w] = model.image_shape();
        let options = (Kind::Float, device());
        let pixels = Tensor::arange(5 * c * h * w, options) * 37.0;
        let x = pixels.remainder(251.0).view([5, c, h, w]);
        let noise = (&x * 0.37).frac();
        let cx = Cx {
            noise: Some(&noise),
            ..Cx::default()
        };
        tch::no_grad(|| model.initialize(&x, cx)).unwrap();
        let mut learner = Learner::new(model, vs, &config.train).unwrap();
        let (nll, whole) = learner.gradients(&x, &noise).unwrap();
        // parts of 2 and 3 images, and more parts than images
        for parts in [2, 9] {
            config.train.accumulate = parts;
            let Learner { model, vs, .. } = learner;
            learner = Learner::new(model, vs, &config.train).unwrap();
            let (sum, summed) = learner.gradients(&x, &noise).unwrap();
            assert!(!sum.requires_grad());
            let apart = (&sum - &nll).abs().double_value(&[]);
            assert!(
                apart < 1e-5 * nll.abs().double_value(&[]),
                "{family}: {apart:e}"
            );
            let (mut apart, mut length) = (0.0, 0.0);
            for (a, b) in summed.iter().zip(&whole) {
                assert_eq!(a.defined(), b.defined(), "{family}");
                if b.defined() {
                    let square = |t: Tensor| t.square().sum(Kind::Double).double_value(&[]);
                    apart += square(a - b);
                    length += square(b.shallow_clone());
                }
            }
            let apart = (apart / length).sqrt();
            assert!(apart < 1e-4, "{family} in {parts}: {apart:e}");
        }
    }
}
