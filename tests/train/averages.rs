//! Averages of the parameters: their definition, their place in the model, and their way through a checkpoint.

use crate::device::device;
use crate::support::{images, ScaleFlow};
use inverse_flow::flows::Cx;
use inverse_flow::models::MODELS;
use inverse_flow::train::{
    build_model, load_into, presets, save, Checkpoint, Learner, Progress, RunConfig, TrainConfig,
    Weights,
};
use inverse_flow::weights::StateFile;
use inverse_flow::Error;
use tch::{nn::VarStore, Kind, Tensor};

const CHW: [i64; 3] = [2, 3, 5];

fn with_ema(ema: Option<f64>) -> RunConfig {
    let mut config = presets::by_name(presets::DEFAULT).unwrap();
    config.train.ema = ema;
    config
}

fn learner(config: &TrainConfig) -> Learner {
    let vs = VarStore::new(device());
    let model = ScaleFlow::build(&vs.root(), CHW);
    Learner::new(model, vs, config).unwrap()
}

fn noise() -> Tensor {
    Tensor::full([7, 2, 3, 5], 0.25, (Kind::Float, device()))
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

fn params(learner: &Learner) -> Vec<Vec<f64>> {
    learner.adam.params().iter().map(numbers).collect()
}

fn averages(learner: &Learner) -> Vec<Vec<f64>> {
    let state = learner.averages.as_ref().unwrap().state();
    state.iter().map(|(_, average)| numbers(average)).collect()
}

#[test]
fn averages_follow_their_definition_and_steps_that_are_skipped_change_nothing() {
    // the weight of the early steps, 9 / (10 + t), rules up to step 10 of the first, and the whole time of the second
    for decay in [0.5, 0.9999] {
        let config = with_ema(Some(decay)).train;
        let mut learner = learner(&config);
        let mut expected = params(&learner);
        assert_eq!(averages(&learner), expected);
        let mut taken = 0.0;
        for step in 0..15 {
            let before = averages(&learner);
            if step % 4 == 2 {
                let poison = images(7, CHW) * f64::NAN;
                learner.queue(&poison, &noise(), 0.02).unwrap();
                assert_eq!(averages(&learner), before, "a skipped step");
                continue;
            }
            learner
                .queue(&(images(7, CHW) + step as f64), &noise(), 0.02)
                .unwrap();
            taken += 1.0;
            let weight = f64::max(1.0 - decay, 9.0 / (10.0 + taken));
            for (average, param) in expected.iter_mut().zip(params(&learner)) {
                for (a, p) in average.iter_mut().zip(param) {
                    *a += weight * (p - *a);
                }
            }
            for (found, expected) in averages(&learner).iter().zip(&expected) {
                for (found, expected) in found.iter().zip(expected) {
                    let error = (found - expected).abs();
                    assert!(
                        error < 1e-6,
                        "decay {decay}, step {step}: {found}, not {expected}"
                    );
                }
            }
        }
        assert_ne!(averages(&learner), params(&learner));
    }
}

/// A model of a family, some steps, and images for it.
fn trained(family: &str) -> (RunConfig, Learner, Tensor) {
    let mut config = presets::by_name(presets::for_model(family).unwrap().as_str()).unwrap();
    let small = |width| inverse_flow::models::Overrides {
        steps: Some(1),
        width,
        ..Default::default()
    };
    config.model.change(&small(None)).unwrap();
    // a family without coupling nets has no width
    let _ = config.model.change(&small(Some(4)));
    config.train.ema = Some(0.9);
    let (mut model, vs) = build_model(&config, device()).unwrap();
    let x = (Tensor::rand([4, 1, 28, 28], (Kind::Float, device())) * 255.0).floor();
    model
        .initialize(
            &x,
            Cx {
                noise: Some(&x.full_like(0.5)),
                ..Cx::default()
            },
        )
        .unwrap();
    let mut learner = Learner::new(model, vs, &config.train).unwrap();
    for _ in 0..4 {
        learner.step(&x, &x.full_like(0.5), 0.01).unwrap();
    }
    (config, learner, x)
}

fn nll(model: &inverse_flow::models::MultiScale, x: &Tensor) -> Vec<f64> {
    let noise = x.full_like(0.5);
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    tch::no_grad(|| numbers(&model.log_prob(x, cx).unwrap()))
}

#[test]
fn every_family_computes_with_its_averages_inside_and_with_its_parameters_after() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    for family in MODELS {
        let (config, learner, x) = trained(family);
        let (raw, before) = (nll(&learner.model, &x), params(&learner));
        let inside = learner.with_averages(|model| Ok(nll(model, &x))).unwrap();
        assert_ne!(inside, raw, "{family}");
        let failed = learner.with_averages(|_| Err::<(), _>(Error::config("on the way")));
        assert!(failed.is_err());
        assert_eq!(params(&learner), before, "{family}");
        assert_eq!(nll(&learner.model, &x), raw, "{family}");
        // a model that reads them from the checkpoint is the same one
        save(&path, &learner, &config, &Progress::default()).unwrap();
        for (weights, expected) in [(Weights::Averaged, &inside), (Weights::Last, &raw)] {
            let (model, vs) = build_model(&config, device()).unwrap();
            let file = StateFile::open(&path).unwrap();
            let report = load_into(&file, &model, &vs, weights).unwrap();
            assert_eq!(&nll(&model, &x), expected, "{family} {weights:?}");
            let says = report
                .remarks
                .iter()
                .any(|remark| remark.contains("--no-ema"));
            assert_eq!(says, weights == Weights::Averaged, "{report:?}");
        }
    }
}

#[test]
fn averages_come_back_from_a_checkpoint_begin_with_it_or_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let (some, none) = (with_ema(Some(0.9)), with_ema(None));
    let steps = |learner: &mut Learner| {
        for _ in 0..3 {
            learner.step(&images(7, CHW), &noise(), 0.02).unwrap();
        }
    };
    let write = |config: &RunConfig| {
        let mut from = learner(&config.train);
        steps(&mut from);
        save(&path, &from, config, &Progress::default()).unwrap();
        from
    };
    let read = |config: &RunConfig| {
        let mut into = learner(&config.train);
        Checkpoint::open(&path).unwrap().load(&mut into).unwrap();
        into
    };
    let from = write(&some);
    assert_eq!(averages(&read(&some)), averages(&from));
    assert_ne!(averages(&from), params(&from));
    let left = read(&none);
    assert_eq!(params(&left), params(&from));
    assert!(left.averages.is_none());
    // those of a run that had none begin with its parameters, not with those that were drawn before
    let from = write(&none);
    let mut begun = read(&some);
    assert_eq!(averages(&begun), params(&from));
    // as many steps as before: the early weights are over
    begun.step(&images(7, CHW), &noise(), 0.02).unwrap();
    assert_ne!(averages(&begun), params(&begun));
}
