//! What several processes compute together is what one computes.

use crate::ranks::in_a_group;
use inverse_flow::data::{self, Dataset, Epoch};
use inverse_flow::flows::Cx;
use inverse_flow::models::Overrides;
use inverse_flow::train::{
    build_model, presets, prior_latents_of, Decoding, Dequantization, Evaluation, Feed, Labels,
    Learner, Own, RunConfig, Team, Wishes,
};
use tch::{Device, Kind, Tensor};

const FAMILIES: [&str; 9] = [
    "inverse-flow",
    "finc",
    "emerging",
    "cinc",
    "snf",
    "woodbury",
    "butterfly",
    "macow",
    "mintnet",
];

/// A small form of a family, with a batch of `batch` images that are changed at random.
fn config(family: &str, batch: usize) -> RunConfig {
    let mut config = presets::by_name(&presets::for_model(family).unwrap()).unwrap();
    let small = Overrides {
        steps: Some(1),
        // MintNet has no coupling nets
        width: (family != "mintnet").then_some(8),
        ..Overrides::default()
    };
    config.model.change(&small).unwrap();
    config.data.augment = true;
    config.data.limit = Some(batch);
    config.train.batch_size = batch;
    config
}

/// A model in which every parameter takes part, and the images of its run.
fn learner(config: &RunConfig) -> (Learner, Dataset) {
    let data = data::load(&config.data, config.seed).unwrap().train;
    let (mut model, vs) = build_model(config, Device::Cpu).unwrap();
    let (x, noise) = batch(config, &data, &Team::alone());
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    tch::no_grad(|| model.initialize(&x, cx)).unwrap();
    let learner = Learner::new(model, vs, &config.train).unwrap();
    tch::manual_seed(5);
    tch::no_grad(|| {
        for param in learner.adam.params() {
            // the nets of couplings end with zeros at the start
            let _ = param.shallow_clone().g_add_(&(param.randn_like() * 0.02));
        }
    });
    (learner, data)
}

/// The part of the first batch that a process of `team` has.
fn batch(config: &RunConfig, data: &Dataset, team: &Team) -> (Tensor, Tensor) {
    let order = Epoch::train(data.len(), config.train.batch_size, config.seed, 1).unwrap();
    let feed = Feed::new(config, data, Device::Cpu).unwrap();
    let epoch = feed.of_part(team.part()).epoch(order, 0).unwrap();
    epoch.get(data, 0).unwrap()
}

fn flat(tensors: &[Tensor]) -> Tensor {
    let flat = |t: &Tensor| match t.defined() {
        true => t.reshape([-1]).to_kind(Kind::Double),
        false => Tensor::zeros([0], (Kind::Double, Device::Cpu)),
    };
    Tensor::cat(&tensors.iter().map(flat).collect::<Vec<_>>(), 0)
}

/// How far the gradient of `team` is from that of one process, as a part of its length.
fn gradients_apart(team: &Team, family: &str, images: usize) -> f64 {
    let config = config(family, images);
    let (learner, data) = learner(&config);
    let (x, noise) = batch(&config, &data, &Team::alone());
    let (nll, grads) = learner.gradients(&x, &noise).unwrap();
    let (x, noise) = batch(&config, &data, team);
    assert_eq!(x.size()[0] as usize, team.part().range(images).len());
    let own = Own {
        x: &x,
        given: (&noise).into(),
        share: x.size()[0] as f64 / images as f64,
        wishes: Wishes::default(),
    };
    let whole = learner.whole_gradients(team, own).unwrap();
    let nll = nll.double_value(&[]);
    let nll_apart = (whole.nll.double_value(&[]) - nll).abs() / nll.abs();
    assert!(nll_apart < 1e-6, "{family}: {nll_apart:e}");
    // parameters without a gradient come back as zeros
    let defined = |(whole, one): (Tensor, &Tensor)| match one.defined() {
        true => Some(whole),
        false => {
            assert_eq!(whole.abs().max().double_value(&[]), 0.0);
            None
        }
    };
    let whole: Vec<_> = whole
        .grads
        .into_iter()
        .zip(&grads)
        .filter_map(defined)
        .collect();
    let (whole, one) = (flat(&whole), flat(&grads));
    (whole - &one).norm().double_value(&[]) / one.norm().double_value(&[])
}

/// The table of all families, printed by rank 0.
fn compare_families(team: &Team) {
    for family in FAMILIES {
        let apart = gradients_apart(team, family, 7);
        if team.is_main() {
            println!("{family}, 7 images on {} ranks: {apart:.1e}", team.ranks());
        }
        assert!(apart < 1e-6, "{family}: {apart:e}");
    }
}

#[test]
fn the_gradient_of_two_ranks_is_that_of_one_in_every_family() {
    const TEST: &str = "the_gradient_of_two_ranks_is_that_of_one_in_every_family";
    in_a_group(module_path!(), TEST, 2, compare_families);
}

#[test]
fn the_gradient_of_three_ranks_is_that_of_one_in_every_family() {
    const TEST: &str = "the_gradient_of_three_ranks_is_that_of_one_in_every_family";
    in_a_group(module_path!(), TEST, 3, compare_families);
}

#[test]
fn ranks_without_images_bring_nothing() {
    const TEST: &str = "ranks_without_images_bring_nothing";
    in_a_group(module_path!(), TEST, 3, |team| {
        let apart = gradients_apart(team, "inverse-flow", 2);
        assert!(apart < 1e-6, "{apart:e}");
    });
}

#[test]
fn likelihood_round_trip_and_samples_are_those_of_one_to_the_bit() {
    const TEST: &str = "likelihood_round_trip_and_samples_are_those_of_one_to_the_bit";
    in_a_group(module_path!(), TEST, 3, |team| {
        let (learner, _) = learner(&config("inverse-flow", 7));
        let (model, device) = (&learner.model, Device::Cpu);
        let data = data::load(&config("inverse-flow", 23).data, 0).unwrap().val;
        // shards of unequal size, and ranks without any
        for (images, batch_size) in [(23, 6), (5, 3)] {
            let data = data.subset(0..images);
            let evaluation = Evaluation {
                batch_size,
                dequantize: Dequantization::Uniform,
                seed: 3,
                device,
            };
            let one = evaluation.likelihood(model, &data).unwrap();
            assert_eq!(evaluation.likelihood_in(team, model, &data).unwrap(), one);
            let one = evaluation.round_trip(model, &data).unwrap();
            assert_eq!(evaluation.round_trip_in(team, model, &data).unwrap(), one);
            let latents = |images| prior_latents_of(model, images, 1, device)?.scaled(0.7);
            let decoding = Decoding {
                latents: &latents,
                count: images as u64,
                batch: batch_size as u64,
                device,
                labels: Labels::Rows,
            };
            let one = decoding.all_in(&Team::alone(), model).unwrap();
            assert_eq!(decoding.all_in(team, model).unwrap(), one);
            // some of the batches, as after an interruption
            let mut seen = Vec::new();
            decoding
                .each_batch_in(team, model, &[1], |range, part| {
                    seen.push((range, part));
                    Ok(())
                })
                .unwrap();
            let [(range, part)] = &seen[..] else {
                panic!("one batch, got {seen:?}")
            };
            let (start, length) = (range.start as i64, (range.end - range.start) as i64);
            assert_eq!(*part, one.narrow(0, start, length));
        }
    });
}

#[test]
fn words_and_wishes_reach_all_ranks() {
    const TEST: &str = "words_and_wishes_reach_all_ranks";
    in_a_group(module_path!(), TEST, 3, |team| {
        let own = ["", "zwölf", "a"][team.rank()];
        assert_eq!(team.texts(own).unwrap(), ["", "zwölf", "a"]);
        let flags = team
            .any([team.rank() == 2, false, team.rank() != 1])
            .unwrap();
        assert_eq!(flags, [true, false, true]);
        let made = team.from_main(|| Ok(vec![team.rank(), 7])).unwrap();
        assert_eq!(made, [0, 7]);
        let values = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]) * (team.rank() as f64 + 1.0);
        let (plain, strided) = (values.copy(), values.view([2, 2]).tr());
        let flags = values.ge(2.0 + team.rank() as f64);
        let tensors = [("b", &strided), ("c", &flags), ("a", &plain)];
        let named = tensors.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()));
        team.share(named).unwrap();
        let expected = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]);
        assert_eq!(plain, expected);
        assert_eq!(strided, expected.view([2, 2]).tr());
        assert_eq!(flags, expected.ge(2.0));
    });
}
