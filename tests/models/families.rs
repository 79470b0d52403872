//! Whole models of every family: exact inverses, exact likelihoods, and what training changes.

use crate::common::*;
use crate::support::*;
use inverse_flow::flows::{AuxiliaryLosses, Cx};
use inverse_flow::models::*;
use tch::{Kind, Tensor};

#[test]
fn images_come_back_from_their_latents() {
    let x = images(1, &[3, 3, 12, 8]);
    let noise = uniform(2, &[3, 3, 12, 8]) * 0.9 + 0.05;
    for kind in [Kind::Float, Kind::Double] {
        let (x, noise) = (x.to_kind(kind), noise.to_kind(kind));
        for (name, config) in families([3, 12, 8], 2, 2) {
            let (_vs, flow) = shaken(&config, kind, &x, 0.02);
            let cx = Cx {
                noise: Some(&noise),
                ..Cx::default()
            };
            let Encoded { latents, log_det } = flow.encode(&x, cx).unwrap();
            let back = flow.decode(&latents, Cx::default()).unwrap();
            let tol = if kind == Kind::Float { 1e-3 } else { 1e-9 };
            // saturated pixels lose digits in the logit: the error is that of a grey level
            assert_close(&name, &back.value, &(&x + &noise), tol * 10.0);
            let sum = &back.log_det + &log_det;
            let scale = log_det.abs().max().double_value(&[]);
            assert_close(&name, &sum, &sum.zeros_like(), tol * scale);
        }
    }
}

#[test]
fn prior_samples_come_back_from_their_images() {
    let x = images(1, &[4, 1, 8, 12]);
    for (name, config) in families([1, 8, 12], 2, 2) {
        let (_vs, flow) = shaken(&config, Kind::Double, &x, 0.02);
        let shapes = flow.latent_shapes().into_iter();
        let eps: Vec<Tensor> = (0..)
            .zip(shapes)
            .map(|(i, [c, h, w])| normal(40 + i, &[5, c, h, w]))
            .collect();
        let image = sample(&flow, &Latents(eps), 0.5).unwrap();
        // `encode` dequantises: take its noise back first
        let latents = flow.encode(&(&image - 0.5), Cx::default()).unwrap().latents;
        let again = flow.decode(&latents, Cx::default()).unwrap().value;
        assert_close(&name, &again, &image, 1e-6);
    }
}

#[test]
fn the_log_det_is_that_of_the_jacobian() {
    let x = images(1, &[2, 1, 4, 8]);
    for (name, config) in families([1, 4, 8], 2, 2) {
        let (_vs, flow) = shaken(&config, Kind::Double, &x, 0.1);
        let log_det = flow.encode(&x, Cx::default()).unwrap().log_det;
        let exact = jacobian_log_det(&x.narrow(0, 1, 1), |x| {
            let Latents(latents) = flow.encode(x, Cx::default()).unwrap().latents;
            let flat: Vec<_> = latents.iter().map(|z| z.reshape([-1])).collect();
            Tensor::cat(&flat, 0)
        });
        let got = log_det.double_value(&[1]);
        assert!(
            (got - exact).abs() < 1e-9 * exact.abs(),
            "{name}: {got} against {exact}"
        );
    }
}

#[test]
fn the_gradient_of_the_likelihood_is_its_central_difference() {
    let x = images(1, &[3, 1, 4, 4]);
    for (name, config) in families([1, 4, 4], 2, 1) {
        let config = GlowConfig {
            spline: Some(SplineConfig {
                bins: 3,
                tail: 4.0,
                shared: true,
            }),
            ..config
        };
        let (vs, flow) = shaken(&config, Kind::Double, &x, 0.1);
        let mut variables = trainable(&vs);
        // SNF's learned inverse is no part of the exact likelihood
        variables.retain(|(name, _)| !name.ends_with("inverse"));
        for (variable, _) in &mut variables {
            *variable = format!("{name}: {variable}");
        }
        assert_gradients(&variables, 1e-6, || {
            flow.log_prob(&x, Cx::default()).unwrap().sum(Kind::Double)
        });
    }
}

#[test]
fn in_training_only_snf_adds_losses_and_leaves_log_dets_out() {
    let x = images(1, &[3, 1, 8, 4]);
    for (name, config) in families([1, 8, 4], 2, 2) {
        let (vs, flow) = shaken(&config, Kind::Double, &x, 0.05);
        let losses = AuxiliaryLosses::default();
        let cx = Cx {
            training: Some(&losses),
            ..Cx::default()
        };
        let trained = flow.log_prob(&x, cx).unwrap();
        let exact = flow.log_prob(&x, Cx::default()).unwrap();
        let total = losses.total().unwrap();
        if name == "snf" {
            assert!(total.unwrap().double_value(&[]) > 0.0);
            let mut left_out = 0.0;
            for (variable, weight) in named(&vs) {
                if variable.ends_with("self_norm.weight") {
                    let c = weight.size()[0];
                    let pixels = if variable.starts_with("levels.0") {
                        8.0
                    } else {
                        2.0
                    };
                    left_out += pixels * weight.view([c, c]).slogdet().1.double_value(&[]);
                }
            }
            assert!(left_out.abs() > 1e-3);
            assert_close(&name, &(&trained + left_out), &exact, 1e-9);
        } else {
            assert!(total.is_none(), "{name}");
            assert_close(&name, &trained, &exact, 0.0);
        }
    }
}

#[test]
fn an_empty_batch_is_an_empty_answer() {
    let x = images(1, &[5, 1, 4, 4]);
    for (name, config) in families([1, 4, 4], 2, 1) {
        let (_vs, flow) = shaken(&config, Kind::Double, &x, 0.02);
        let none = x.narrow(0, 0, 0);
        assert_eq!(flow.log_prob(&none, Cx::default()).unwrap().size(), [0]);
        let latents = flow.encode(&none, Cx::default()).unwrap().latents;
        let images = flow.decode(&latents, Cx::default()).unwrap().value;
        assert_eq!(images.size(), [0, 1, 4, 4], "{name}");
    }
}

#[test]
fn the_stages_one_by_one_are_the_model() {
    let x = images(1, &[2, 3, 8, 8]);
    let image = [3, 8, 8];
    let macow = MaCowConfig {
        image,
        internal: vec![MaCowSplitBlock {
            steps: vec![1],
            factor: 2,
            width: 5,
        }],
        top: MaCowBlock { steps: 1, width: 5 },
        bottom: None,
        ..MaCowConfig::table6()
    };
    for config in [ModelConfig::from(small(image, 2, 1)), macow.into()] {
        let vs = store(Kind::Double);
        let mut flow = seeded(|| build(&vs.root(), &config)).unwrap();
        flow.initialize(&x, Cx::default()).unwrap();
        let Encoded { latents, log_det } = flow.encode(&x, Cx::default()).unwrap();
        let kinds: Vec<_> = flow.layers().into_iter().map(|(_, kind)| kind).collect();
        let stages = flow.stages();
        assert_eq!(stages.iter().map(Stage::kind).collect::<Vec<_>>(), kinds);
        let (mut value, mut sum, mut left) = (x.copy(), log_det.zeros_like(), Vec::new());
        for stage in stages {
            let staged = stage.forward(&value, Cx::default()).unwrap();
            value = staged.kept;
            for made in staged.latent.into_iter().chain(staged.log_det) {
                match made.dim() {
                    1 => sum += made,
                    _ => left.push(made),
                }
            }
        }
        left.push(value);
        assert_close("log-det", &sum, &log_det, 1e-9);
        assert_eq!(left.len(), latents.0.len());
        for (left, latent) in left.iter().zip(&latents.0) {
            assert_close("latent", left, latent, 0.0);
        }
    }
}
