//! Life of a model: initialisation, empty batches, and every error it can report.

use crate::common::*;
use crate::support::*;
use inverse_flow::flows::Cx;
use inverse_flow::models::*;
use inverse_flow::train::finite::{
    non_finite_parameters, where_decoding_ends, where_encoding_ends,
};
use inverse_flow::Error;
use tch::Kind;

#[test]
fn initialising_standardises_once_and_evaluating_before_is_an_error() {
    let x = images(1, &[5, 1, 4, 4]);
    let vs = store(Kind::Double);
    let mut flow = glow(&vs, &small([1, 4, 4], 2, 2)).unwrap();
    assert!(matches!(
        flow.log_prob(&x, Cx::default()),
        Err(Error::NotInitialized { .. })
    ));
    flow.initialize(&x, Cx::default()).unwrap();
    let before = flow.log_prob(&x, Cx::default()).unwrap();
    flow.initialize(&images(2, &[5, 1, 4, 4]), Cx::default())
        .unwrap();
    assert_close(
        "log_prob",
        &flow.log_prob(&x, Cx::default()).unwrap(),
        &before,
        0.0,
    );
    assert!(before.requires_grad());
    assert!(trainable(&vs)
        .iter()
        .all(|(_, variable)| variable.is_leaf()));
}

#[test]
fn an_empty_batch_is_an_empty_answer() {
    let x = images(1, &[5, 1, 4, 4]);
    let (_vs, flow) = moved(&small([1, 4, 4], 2, 1), Kind::Double, &x, 0.1);
    let none = x.narrow(0, 0, 0);
    assert_eq!(flow.log_prob(&none, Cx::default()).unwrap().size(), [0]);
    let latents = flow.encode(&none, Cx::default()).unwrap().latents;
    assert_eq!(
        flow.decode(&latents, Cx::default()).unwrap().value.size(),
        [0, 1, 4, 4]
    );
}

#[test]
fn the_first_layer_that_is_not_finite_is_named() {
    let x = images(1, &[5, 1, 4, 4]);
    let (vs, flow) = moved(&small([1, 4, 4], 2, 2), Kind::Double, &x, 0.1);
    assert_eq!(flow.first_non_finite(&x, Cx::default()).unwrap(), None);
    for (variable, layer) in [
        ("levels.1.steps.0.actnorm.loc", "levels.1.steps.0.actnorm"),
        ("levels.0.split.coupling.net.0.weight", "levels.0.split"),
        (
            "levels.0.steps.1.inv_conv.weight",
            "levels.0.steps.1.inv_conv",
        ),
    ] {
        tch::no_grad(|| {
            let _ = vs.variables()[variable].shallow_clone().fill_(f64::NAN);
        });
        let found = flow.first_non_finite(&x, Cx::default()).unwrap();
        assert_eq!(found.as_deref(), Some(layer));
    }
    let mut bad = x.copy();
    let _ = bad.fill_(300.0);
    let found = flow.first_non_finite(&bad, Cx::default()).unwrap();
    assert_eq!(found.as_deref(), Some("preprocess.logit"));
}

#[test]
fn the_first_layer_that_is_not_finite_on_the_way_to_an_image_is_named() {
    let x = images(1, &[5, 1, 4, 4]);
    let (vs, flow) = moved(&small([1, 4, 4], 2, 2), Kind::Double, &x, 0.1);
    let latents = flow.encode(&x, Cx::default()).unwrap().latents;
    let first = |latents: &Latents| {
        flow.first_non_finite_decode(latents, Cx::default())
            .unwrap()
    };
    assert_eq!(first(&latents), None);
    for layer in ["levels.0.steps.1.actnorm", "levels.1.steps.0.actnorm"] {
        // what comes later on this way is damaged first
        tch::no_grad(|| {
            let variable = format!("{layer}.loc");
            let _ = vs.variables()[&variable].shallow_clone().fill_(f64::NAN);
        });
        assert_eq!(first(&latents).as_deref(), Some(layer));
        assert_eq!(
            where_decoding_ends(&flow, &latents, Cx::default()).unwrap(),
            Some(format!("from layer `{layer}` on"))
        );
    }
    let _ = latents.0[1].get(0).fill_(f64::INFINITY);
    let place = where_decoding_ends(&flow, &latents, Cx::default()).unwrap();
    assert_eq!(place.as_deref(), Some("from latent 1 on, as it was given"));
}

#[test]
fn parameters_that_are_not_finite_are_counted_by_name() {
    let x = images(1, &[5, 1, 4, 4]);
    let (vs, flow) = moved(&small([1, 4, 4], 2, 2), Kind::Double, &x, 0.1);
    assert_eq!(non_finite_parameters(&vs).unwrap(), []);
    let variables = vs.variables();
    tch::no_grad(|| {
        let loc = variables["levels.1.steps.0.actnorm.loc"].view(-1);
        let _ = loc.get(1).fill_(f64::NAN);
        let weight = &variables["levels.0.steps.1.inv_conv.weight"];
        let _ = weight.get(0).fill_(f64::NEG_INFINITY);
    });
    let row = variables["levels.0.steps.1.inv_conv.weight"].get(0).numel();
    let found = non_finite_parameters(&vs).unwrap();
    assert_eq!(
        found,
        [
            ("levels.0.steps.1.inv_conv.weight".to_owned(), row),
            ("levels.1.steps.0.actnorm.loc".to_owned(), 1)
        ]
    );
    let place = where_encoding_ends(&flow, &x, Cx::default()).unwrap();
    assert_eq!(place, "from layer `levels.0.steps.1.inv_conv` on");
}

#[test]
fn wrong_images_and_latents_are_errors() {
    let x = images(1, &[2, 1, 4, 4]);
    let (_vs, flow) = moved(&small([1, 4, 4], 2, 1), Kind::Double, &x, 0.1);
    let message = |result: inverse_flow::Result<Encoded>| result.unwrap_err().to_string();
    let cases = [
        (
            message(flow.encode(&images(1, &[2, 3, 4, 4]), Cx::default())),
            "[C, H, W] = [1, 4, 4], got [2, 3, 4, 4]",
        ),
        (
            message(flow.encode(&x.to_kind(Kind::Float), Cx::default())),
            &format!("must be float64 on {} like the model", device_name()),
        ),
    ];
    for (got, expected) in cases {
        assert!(got.contains(expected), "{got}");
    }
    let mut latents = flow.encode(&x, Cx::default()).unwrap().latents;
    let top = latents.0.pop().unwrap();
    let err = flow
        .decode(&latents, Cx::default())
        .unwrap_err()
        .to_string();
    assert!(err.contains("must be 2 tensors, got 1"), "{err}");
    latents.0.push(top.narrow(0, 0, 1));
    let err = flow
        .decode(&latents, Cx::default())
        .unwrap_err()
        .to_string();
    assert!(err.contains("same batch size"), "{err}");
}

#[test]
fn every_impossible_configuration_says_what_to_change() {
    let good = small([1, 28, 28], 2, 1);
    let spline = |bins, tail| {
        Some(SplineConfig {
            bins,
            tail,
            shared: true,
        })
    };
    let width = |width| CouplingConfig {
        width,
        ..good.coupling.clone()
    };
    for (bad, part) in [
        (
            GlowConfig {
                levels: 3,
                ..good.clone()
            },
            "28x28 cannot be squeezed 3 times",
        ),
        (
            GlowConfig {
                levels: 99,
                ..good.clone()
            },
            "divisible by 2^99",
        ),
        (
            GlowConfig {
                levels: 0,
                ..good.clone()
            },
            "`levels` must be 1 or more",
        ),
        (
            GlowConfig {
                steps: 0,
                ..good.clone()
            },
            "`steps` must be 1 or more",
        ),
        (
            GlowConfig {
                image: [0, 28, 28],
                ..good.clone()
            },
            "`image`",
        ),
        (
            GlowConfig {
                mixing: inverse_flow(0, 0.01),
                ..good.clone()
            },
            "`kernel`",
        ),
        (
            GlowConfig {
                alpha: 0.7,
                ..good.clone()
            },
            "`alpha`",
        ),
        (
            GlowConfig {
                mixing: inverse_flow(2, -1.0),
                ..good.clone()
            },
            "`init_std`",
        ),
        (
            GlowConfig {
                coupling: width(0),
                ..good.clone()
            },
            "`width`",
        ),
        (
            GlowConfig {
                split_prior: Some(-3),
                ..good.clone()
            },
            "`width`",
        ),
        (
            GlowConfig {
                spline: spline(0, 3.0),
                ..good.clone()
            },
            "bins",
        ),
        (
            GlowConfig {
                spline: spline(5, -3.0),
                ..good.clone()
            },
            "`tail`",
        ),
    ] {
        let vs = store(Kind::Float);
        let err = glow(&vs, &bad).unwrap_err();
        assert!(matches!(err, Error::Config(_)), "{err}");
        assert!(err.to_string().contains(part), "{err}");
    }
}
