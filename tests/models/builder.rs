//! Models put together by hand: what cannot be one is refused, and what can be has everything a model has.

use crate::common::*;
use crate::own_layer::Shift;
use crate::support::*;
use inverse_flow::distributions::SplitPrior;
use inverse_flow::flows::*;
use inverse_flow::models::*;
use inverse_flow::nn::{CouplingConfig, CouplingNet, Net};
use inverse_flow::{Error, Result};
use tch::{nn, Kind, Tensor};

const FEATURES: i64 = 3;

fn config() -> CouplingConfig {
    CouplingConfig {
        net: Net::Z,
        width: 5,
        zero_init_last: false,
    }
}

/// A model for `[1, 4, 4]` with a layer of its own, both kinds of split, and nets under a condition.
fn conditional(vs: &nn::Path) -> MultiScale {
    let config = config();
    let net = |vs: &nn::Path, inputs, outputs| {
        CouplingNet::with_condition(vs, inputs, outputs, &config, FEATURES)
    };
    let mut model = MultiScale::builder(vs, [1, 4, 4]).unwrap();
    model.layer("dequantize", Dequantize::default()).unwrap();
    model.layer("scale", Scale).unwrap();
    model.layer("logit", LogitMap::new(0.05).unwrap()).unwrap();
    model.layer("squeeze", Squeeze::new(2).unwrap()).unwrap();
    let shift = Shift((vs / "own").zeros("shift", &[1, 4, 1, 1]));
    model.layer("own", shift).unwrap();
    let coupling = Coupling::new(&(vs / "coupling"), 4, net).unwrap();
    model.layer("coupling", coupling).unwrap();
    let prior = SplitPrior::with_net(&(vs / "split"), 4, net).unwrap();
    model.split_prior("split", prior).unwrap();
    model.split("again", 1).unwrap();
    model.finish().unwrap()
}

fn made() -> (nn::VarStore, MultiScale) {
    let vs = store(Kind::Double);
    let model = seeded(|| conditional(&vs.root()));
    shake(&vs, 5, 0.2);
    (vs, model)
}

fn under(condition: &Tensor) -> Cx<'_> {
    Cx {
        condition: Some(condition),
        ..Cx::default()
    }
}

#[test]
fn a_model_under_a_condition_has_a_likelihood_an_inverse_and_samples() {
    let (_vs, model) = made();
    assert_eq!(model.latent_shapes(), [[2, 2, 2], [1, 2, 2], [1, 2, 2]]);
    let (x, condition) = (images(1, &[3, 1, 4, 4]), normal(2, &[3, FEATURES]));
    let Encoded { latents, log_det } = model.encode(&x, under(&condition)).unwrap();
    let back = model.decode(&latents, under(&condition)).unwrap();
    assert_close("images", &(&back.value - 0.5), &x, 1e-9);
    let sum = &back.log_det + &log_det;
    assert_close("log-dets", &sum, &sum.zeros_like(), 1e-9);
    let flat = |latents: &Latents| {
        let parts: Vec<_> = latents.0.iter().map(|z| z.flatten(1, -1)).collect();
        Tensor::cat(&parts, 1)
    };
    for i in 0..3 {
        let own = condition.narrow(0, i, 1);
        let exact = jacobian_log_det(&x.narrow(0, i, 1), |x| {
            flat(&model.encode(x, under(&own)).unwrap().latents)
        });
        let got = log_det.double_value(&[i]);
        assert!(
            (got - exact).abs() < 1e-9,
            "log-det {got}, Jacobian {exact}"
        );
    }
    let draw = |condition: &Tensor| seeded(|| model.sample(3, 0.8, under(condition)).unwrap());
    let samples = draw(&condition);
    assert_eq!(samples.size(), [3, 1, 4, 4]);
    assert!(!samples.requires_grad());
    assert_close("one seed", &samples, &draw(&condition), 0.0);
    assert!(max_diff(&samples, &draw(&(&condition + 1.0))) > 1e-3);
}

#[test]
fn rebuilt_gradients_are_those_under_each_images_condition() {
    let (vs, model) = made();
    let (x, condition) = (images(1, &[5, 1, 4, 4]), normal(2, &[5, FEATURES]));
    let params: Vec<_> = trainable(&vs).into_iter().map(|(_, p)| p).collect();
    let nll = -model
        .log_prob(&x, under(&condition))
        .unwrap()
        .mean(Kind::Double);
    let stored = Tensor::run_backward(&[&nll], &params, false, false);
    // in parts of two, two and one
    let part = 2 * 16;
    let rebuilt = gradients_by_inversion(&model, &x, under(&condition), part, &params).unwrap();
    assert_close("nll", &rebuilt.nll, &nll.detach(), 1e-9);
    for (rebuilt, stored) in rebuilt.grads.iter().zip(&stored) {
        assert_close("gradient", rebuilt, stored, 1e-7);
    }
}

#[test]
fn a_wrong_condition_is_refused_at_the_entry() {
    let (vs, mut model) = made();
    let (x, condition) = (images(1, &[3, 1, 4, 4]), normal(2, &[3, FEATURES]));
    let latents = model.encode(&x, under(&condition)).unwrap().latents;
    let params: Vec<_> = trainable(&vs).into_iter().map(|(_, p)| p).collect();
    let wrong = [
        normal(2, &[2, FEATURES]),
        normal(2, &[3]),
        normal(2, &[3, FEATURES]).to_kind(Kind::Float),
        normal(2, &[3, FEATURES + 1]),
    ];
    for condition in &wrong {
        let cx = under(condition);
        let errors = [
            model.log_prob(&x, cx).unwrap_err(),
            model.decode(&latents, cx).unwrap_err(),
            model.sample(3, 1.0, cx).unwrap_err(),
            model.initialize(&x, cx).unwrap_err(),
            gradients_by_inversion(&model, &x, cx, 1000, &params).unwrap_err(),
        ];
        for err in errors {
            let ours = matches!(
                err,
                Error::Argument {
                    arg: "condition",
                    ..
                }
            );
            assert!(ours, "{:?}: {err}", condition.size());
        }
    }
    let err = model.log_prob(&x, Cx::default()).unwrap_err().to_string();
    assert!(
        err.contains("condition") && err.contains("got none"),
        "{err}"
    );
}

#[test]
fn a_layer_without_torchscript_is_named_with_its_place() {
    let (_vs, model) = made();
    let err = model.torchscript().unwrap_err();
    assert!(matches!(err, Error::NoTorchScript { .. }), "{err}");
    assert!(
        err.to_string()
            .starts_with("`own`: shift has no TorchScript"),
        "{err}"
    );
}

#[test]
fn what_cannot_be_a_model_is_a_configuration_error_and_changes_nothing() {
    let vs = store(Kind::Double);
    let root = vs.root();
    let refused = |result: Result<()>, part: &str| {
        let err = result.unwrap_err();
        assert!(matches!(err, Error::Config(_)), "{err}");
        assert!(err.to_string().contains(part), "{part}: {err}");
    };
    for image in [[0, 4, 4], [1, -4, 4], [1, 4, 0]] {
        assert!(MultiScale::builder(&root, image).is_err());
    }
    let empty = MultiScale::builder(&root, [6, 4, 4]).unwrap();
    refused(empty.finish().map(drop), "at least one stage");

    let mut model = MultiScale::builder(&root, [6, 4, 4]).unwrap();
    model.layer("reverse", ReverseChannels).unwrap();
    for (name, part) in [
        ("reverse", "already"),
        ("", "letters"),
        ("a.", "letters"),
        (".a", "letters"),
        ("a..b", "letters"),
        ("a b", "letters"),
        ("a__b", "__"),
    ] {
        refused(model.layer(name, ReverseChannels), part);
        refused(model.split(name, 3), part);
    }
    for kept in [-1, 0, 6, 7] {
        refused(model.split("split", kept), "6 channels");
    }
    let prior = SplitPrior::new(&root, 4, &config()).unwrap();
    refused(model.split_prior("split", prior), "4 channels");
    assert!(SplitPrior::new(&root, 5, &config()).is_err());
    let squeeze = Squeeze::new(3).unwrap();
    assert!(model.layer("squeeze", squeeze).is_err());
    let twice = Sequential::new()
        .push("same", ReverseChannels)
        .push("same", ReverseChannels);
    refused(model.layers("prefix", twice), "prefix.same");
    assert_eq!(model.chw(), [6, 4, 4]);
    let model = model.finish().unwrap();
    let names: Vec<_> = model.layers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["reverse", "prefix.same"]);
}

#[test]
fn stages_taken_by_themselves_are_checked_too() {
    let (_vs, model) = made();
    let condition = normal(2, &[3, FEATURES]);
    for stage in model
        .stages()
        .iter()
        .filter(|stage| stage.kind().starts_with("split"))
    {
        let err = stage
            .inverse(&normal(1, &[3, 2, 2, 2]), None, under(&condition))
            .unwrap_err();
        assert!(err.to_string().contains(stage.name()), "{err}");
    }
}

#[test]
fn samples_are_decoded_draws_of_the_global_generator() {
    let x = images(1, &[4, 1, 8, 12]);
    let (_vs, flow) = moved(
        &crate::support::small([1, 8, 12], 2, 2),
        Kind::Double,
        &x,
        0.05,
    );
    let drawn = seeded(|| flow.sample(3, 0.5, Cx::default())).unwrap();
    let eps = seeded(|| {
        let shapes = flow.latent_shapes().into_iter();
        Latents(
            shapes
                .map(|[c, h, w]| Tensor::randn([3, c, h, w], (Kind::Double, device())))
                .collect(),
        )
    });
    let decoded = to_range(&sample(&flow, &eps, 0.5).unwrap()).unwrap();
    assert_close("samples", &drawn, &decoded, 0.0);
    for (n, temperature) in [(-1, 1.0), (1, -1.0), (1, f64::INFINITY)] {
        let err = flow.sample(n, temperature, Cx::default()).unwrap_err();
        assert!(matches!(err, Error::Argument { op: "sample", .. }), "{err}");
    }
    assert_eq!(
        flow.sample(0, 1.0, Cx::default()).unwrap().size(),
        [0, 1, 8, 12]
    );
}
