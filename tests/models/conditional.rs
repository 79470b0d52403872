//! Models that are told the class of each image: exact given any class, and the class matters.

use crate::common::*;
use crate::support::*;
use inverse_flow::flows::{ButterflyInit, Cx, FixedPoint, WoodburyRanks};
use inverse_flow::models::*;
use inverse_flow::nn::Precision;
use tch::{nn::VarStore, Kind, Tensor};

/// Three classes, one plane of numbers each.
pub fn three_classes() -> Classes {
    Classes {
        images: vec![5, 3, 2],
        planes: 1,
        ..Classes::alike(["round", "a \"b\"", "ä"])
    }
}

/// A small conditional model of every family: those on the common backbone, and the networks of the others.
pub fn conditional(image: [i64; 3], levels: usize, steps: usize) -> Vec<(String, ModelConfig)> {
    let mut models: Vec<(String, ModelConfig)> = families(image, levels, steps)
        .into_iter()
        .map(|(name, config)| (name, config.into()))
        .collect();
    let wide = GlowConfig {
        coupling: CouplingConfig {
            net: Net::W,
            width: 5,
            zero_init_last: false,
        },
        split_prior: None,
        ..small(image, levels, steps)
    };
    models.push(("inverse-flow without splits".into(), wide.into()));
    let woodbury = WoodburyConfig {
        image,
        levels,
        steps: 1,
        width: 6,
        ranks: WoodburyRanks::MemoryEfficient {
            channels: 3,
            width: 2,
            height: 2,
        },
        classes: None,
    };
    models.push(("woodbury's own".into(), woodbury.into()));
    let butterfly = ButterflyConfig {
        image,
        levels,
        steps: 1,
        width: 6,
        factors: 1,
        init: ButterflyInit::Rotation,
        classes: None,
    };
    models.push(("butterfly's own".into(), butterfly.into()));
    let macow = MaCowConfig {
        image,
        kernel: [2, 3],
        units: 1,
        bottom: None,
        internal: vec![MaCowSplitBlock {
            steps: vec![1],
            factor: 2,
            width: 5,
        }],
        top: MaCowBlock { steps: 1, width: 5 },
        classes: None,
    };
    models.push(("macow's own".into(), macow.into()));
    let mintnet = MintNetConfig {
        image,
        layers: 2,
        subsamplings: 1,
        latent: 8,
        alpha: 0.05,
        inverse: FixedPoint {
            damping: 1.0,
            ..FixedPoint::default()
        },
        classes: None,
    };
    models.push(("mintnet".into(), mintnet.into()));
    for (_, config) in &mut models {
        *config.classes_mut() = Some(three_classes());
    }
    models
}

/// A model of `config` with nothing at its start.
pub fn made(config: &ModelConfig, kind: Kind, x: &Tensor, std: f64) -> (VarStore, MultiScale) {
    let vs = store(kind);
    let mut flow = seeded(|| build(&vs.root(), config)).unwrap();
    let labels: Vec<u16> = (0..x.size()[0]).map(|i| (i % 3) as u16).collect();
    let condition = flow.condition(&labels).unwrap();
    flow.initialize(x, given(&condition)).unwrap();
    shake(&vs, 7, std);
    (vs, flow)
}

pub fn given(condition: &Option<Tensor>) -> Cx<'_> {
    Cx {
        condition: condition.as_ref(),
        ..Cx::default()
    }
}

/// The variables of a likelihood: all but those of SNF that its auxiliary loss alone has.
fn trained(vs: &VarStore) -> Vec<(String, Tensor)> {
    let all = trainable(vs).into_iter();
    all.filter(|(name, _)| !name.ends_with("self_norm.inverse"))
        .collect()
}

#[test]
fn images_come_back_given_their_class_and_so_do_latents_of_the_prior() {
    let x = images(1, &[4, 1, 8, 12]);
    for kind in [Kind::Float, Kind::Double] {
        let x = x.to_kind(kind);
        for (name, config) in conditional([1, 8, 12], 2, 1) {
            let (_vs, flow) = made(&config, kind, &x, 0.02);
            let condition = flow.condition(&[2, 0, 1, 2]).unwrap();
            let cx = given(&condition);
            let Encoded { latents, log_det } = flow.encode(&x, cx).unwrap();
            let back = flow.decode(&latents, cx).unwrap();
            let tol = if kind == Kind::Float { 1e-3 } else { 1e-9 };
            assert_close(&name, &back.value, &(&x + 0.5), tol * 10.0);
            let sum = &back.log_det + &log_det;
            let scale = log_det.abs().max().double_value(&[]);
            assert_close(&name, &sum, &sum.zeros_like(), tol * scale);
            if kind == Kind::Float {
                continue;
            }
            let shapes = flow.latent_shapes().into_iter();
            let eps = (0..)
                .zip(shapes)
                .map(|(i, [c, h, w])| normal(40 + i, &[4, c, h, w]));
            let image = flow.decode(&Latents(eps.collect()).scaled(0.5).unwrap(), cx);
            let image = image.unwrap().value;
            let latents = flow.encode(&(&image - 0.5), cx).unwrap().latents;
            let again = flow.decode(&latents, cx).unwrap().value;
            assert_close(&name, &again, &image, 1e-6);
        }
    }
}

#[test]
fn the_log_det_is_that_of_the_jacobian_given_each_class() {
    let x = images(1, &[3, 1, 4, 8]);
    for (name, config) in conditional([1, 4, 8], 2, 1) {
        let (_vs, flow) = made(&config, Kind::Double, &x, 0.1);
        let all = flow.condition(&[0, 1, 2]).unwrap();
        let log_det = flow.encode(&x, given(&all)).unwrap().log_det;
        for class in 0..3 {
            let condition = flow.condition(&[class]).unwrap();
            let exact = jacobian_log_det(&x.narrow(0, class.into(), 1), |x| {
                let Latents(latents) = flow.encode(x, given(&condition)).unwrap().latents;
                let flat: Vec<_> = latents.iter().map(|z| z.reshape([-1])).collect();
                Tensor::cat(&flat, 0)
            });
            let got = log_det.double_value(&[class.into()]);
            assert!((got - exact).abs() < 1e-7, "{name}: {got} {exact}");
        }
    }
}

#[test]
fn gradients_are_those_of_differences_those_of_the_classes_too() {
    let x = images(1, &[3, 1, 4, 8]);
    for (name, config) in conditional([1, 4, 8], 2, 1) {
        let (vs, flow) = made(&config, Kind::Double, &x, 0.1);
        let condition = flow.condition(&[0, 2, 1]).unwrap();
        let variables = trained(&vs);
        let by_class = |end: &str| {
            variables
                .iter()
                .filter(|(name, _)| name.ends_with(end))
                .count()
        };
        assert_eq!(
            by_class("prior.mean") + by_class("prior.log_std"),
            2,
            "{name}"
        );
        let nets = by_class(".classes");
        assert_eq!(
            nets == 0,
            name == "mintnet",
            "{name}: {nets} nets see the class"
        );
        assert_gradients(&variables, 1e-5, || {
            flow.log_prob(&x, given(&condition))
                .unwrap()
                .sum(Kind::Double)
                * 1e-2
        });
    }
}

#[test]
fn every_net_and_the_prior_see_the_class() {
    let x = images(1, &[3, 1, 8, 8]);
    for (name, config) in conditional([1, 8, 8], 2, 1) {
        let (vs, flow) = made(&config, Kind::Double, &x, 0.1);
        let tables = trainable(&vs).into_iter();
        let tables =
            tables.filter(|(name, _)| name.ends_with(".classes") || name.starts_with("prior."));
        let log_prob = |class| {
            let condition = flow.condition(&[class; 3]).unwrap();
            flow.log_prob(&x, given(&condition)).unwrap()
        };
        let before = [log_prob(0), log_prob(1)];
        for (table, mut values) in tables {
            let kept = values.copy();
            let _ = tch::no_grad(|| values.select(0, 1).fill_(0.7));
            // a change of a class's numbers is a change of that class alone
            assert_close(&format!("{name} {table}"), &log_prob(0), &before[0], 0.0);
            assert!(
                max_diff(&log_prob(1), &before[1]) > 1e-6,
                "{name}: {table} is not seen"
            );
            tch::no_grad(|| values.copy_(&kept));
        }
    }
}

#[test]
fn classes_that_have_learned_nothing_change_nothing() {
    let x = images(1, &[3, 1, 8, 8]);
    for (name, config) in conditional([1, 8, 8], 2, 1) {
        let vs = store(Kind::Double);
        let mut flow = seeded(|| build(&vs.root(), &config)).unwrap();
        let condition = flow.condition(&[0, 1, 2]).unwrap();
        flow.initialize(&x, given(&condition)).unwrap();
        let of = |labels: &[u16]| {
            let condition = flow.condition(labels).unwrap();
            flow.log_prob(&x, given(&condition)).unwrap()
        };
        assert_close(&name, &of(&[0, 0, 0]), &of(&[2, 1, 0]), 0.0);
    }
}

#[test]
fn an_empty_batch_and_a_single_image_are_batches() {
    let x = images(1, &[3, 1, 8, 8]).to_kind(Kind::Float);
    for (name, config) in conditional([1, 8, 8], 2, 1) {
        let (_vs, flow) = made(&config, Kind::Float, &x, 0.05);
        let none = flow.condition(&[]).unwrap();
        let empty = x.narrow(0, 0, 0);
        assert_eq!(
            flow.log_prob(&empty, given(&none)).unwrap().size(),
            [0],
            "{name}"
        );
        assert_eq!(
            flow.sample(0, 1.0, given(&none)).unwrap().size(),
            [0, 1, 8, 8]
        );
        let all = flow.condition(&[1, 0, 2]).unwrap();
        let all = flow.log_prob(&x, given(&all)).unwrap();
        let one = flow.condition(&[2]).unwrap();
        let one = flow.log_prob(&x.narrow(0, 2, 1), given(&one)).unwrap();
        let scale = all.abs().max().double_value(&[]);
        assert_close(&name, &(one / scale), &(all.narrow(0, 2, 1) / scale), 1e-5);
    }
}

#[test]
fn rebuilt_activations_give_the_same_gradients_in_parts_too() {
    let x = images(1, &[5, 1, 8, 8]);
    let noise = uniform(2, &[5, 1, 8, 8]) * 0.9 + 0.05;
    for (name, config) in conditional([1, 8, 8], 2, 1) {
        let (vs, flow) = made(&config, Kind::Double, &x, 0.02);
        let condition = flow.condition(&[2, 0, 1, 1, 0]).unwrap();
        let cx = Cx {
            noise: Some(&noise),
            ..given(&condition)
        };
        let named = trained(&vs);
        let params: Vec<Tensor> = named.iter().map(|(_, t)| t.shallow_clone()).collect();
        let nll = -flow.log_prob(&x, cx).unwrap().mean(None::<Kind>);
        let kept = Tensor::run_backward(&[&nll], &params, false, false);
        for part in [PART_ELEMENTS, x.numel() / 2] {
            let rebuilt = gradients_by_inversion(&flow, &x, cx, part, &params).unwrap();
            for ((got, expected), (variable, _)) in rebuilt.grads.iter().zip(&kept).zip(&named) {
                let scale = expected.abs().max().double_value(&[]).max(1.0);
                let what = format!("{name} {variable}, {part} at a time");
                assert_close(&what, &(got / scale), &(expected / scale), 1e-6);
            }
        }
    }
}

#[test]
fn in_a_coarser_precision_images_come_back_too() {
    let x = images(1, &[3, 1, 8, 8]).to_kind(Kind::Float);
    for precision in [Precision::Tf32, Precision::BFloat16] {
        for (name, config) in conditional([1, 8, 8], 2, 1) {
            let (_vs, mut flow) = made(&config, Kind::Float, &x, 0.02);
            if flow.set_precision(precision).is_err() {
                assert_eq!(name, "mintnet");
                continue;
            }
            let condition = flow.condition(&[0, 1, 2]).unwrap();
            let latents = flow.encode(&x, given(&condition)).unwrap().latents;
            let back = flow.decode(&latents, given(&condition)).unwrap().value;
            assert_close(&format!("{name} in {precision}"), &back, &(&x + 0.5), 0.05);
        }
    }
}

#[test]
fn a_call_without_the_classes_or_with_others_says_what_is_missing() {
    let x = images(1, &[2, 1, 8, 8]);
    let (_, config) = conditional([1, 8, 8], 2, 1).swap_remove(0);
    let (_vs, flow) = made(&config, Kind::Double, &x, 0.0);
    let two = Tensor::zeros([2, 2], (Kind::Double, device()));
    let errors = [
        flow.log_prob(&x, Cx::default()).unwrap_err(),
        flow.sample(2, 1.0, Cx::default()).unwrap_err(),
        flow.log_prob(&x, given(&Some(two))).unwrap_err(),
        flow.log_prob(&x, given(&flow.condition(&[0]).unwrap()))
            .unwrap_err(),
    ];
    for err in errors {
        let text = err.to_string();
        assert!(text.contains("[2, 3]") && text.contains("round"), "{text}");
    }
    let err = flow.condition(&[0, 3]).unwrap_err().to_string();
    assert!(
        err.contains("less than 3") && err.contains("got 3"),
        "{err}"
    );
    let mut one = config.clone();
    *one.classes_mut() = Some(Classes::alike(["only"]));
    let vs = store(Kind::Float);
    let err = build(&vs.root(), &one).unwrap_err().to_string();
    assert!(err.contains("two classes or more"), "{err}");
    *one.classes_mut() = Some(Classes::default());
    assert!(build(&store(Kind::Float).root(), &one).is_err());
}
