//! Whole models: what goes in comes out, and the likelihood is that of the definition.

use crate::common::*;
use crate::support::*;
use inverse_flow::distributions::bits_per_dim;
use inverse_flow::flows::{to_pixels, Cx};
use inverse_flow::models::*;
use tch::{Kind, Tensor};

fn prior(flow: &MultiScale, n: i64, kind: Kind) -> Latents {
    let shapes = flow.latent_shapes().into_iter();
    Latents(
        (0..)
            .zip(shapes)
            .map(|(i, [c, h, w])| normal(40 + i, &[n, c, h, w]).to_kind(kind))
            .collect(),
    )
}

#[test]
fn images_come_back_from_their_latents_within_a_thousandth_of_a_grey_level() {
    let x = images(1, &[3, 3, 12, 8]).to_kind(Kind::Float);
    let (_vs, flow) = moved(&small([3, 12, 8], 2, 2), Kind::Float, &x, 0.05);
    assert_eq!(flow.latent_shapes(), [[6, 6, 4], [24, 3, 2]]);
    let noise = (uniform(2, &[3, 3, 12, 8]) * 0.9 + 0.05).to_kind(Kind::Float);
    let Encoded { latents, log_det } = flow
        .encode(
            &x,
            Cx {
                noise: Some(&noise),
                ..Cx::default()
            },
        )
        .unwrap();
    let shapes: Vec<_> = latents.0.iter().map(|latent| latent.size()).collect();
    assert_eq!(shapes, [[3, 6, 6, 4], [3, 24, 3, 2]]);
    let back = flow.decode(&latents, Cx::default()).unwrap();
    assert_close("images", &back.value, &(&x + &noise), 1e-3);
    assert!(to_pixels(&back.value)
        .unwrap()
        .to_kind(Kind::Float)
        .equal(&x));
    let sum = &back.log_det + &log_det;
    assert_close(
        "log-dets",
        &sum,
        &sum.zeros_like(),
        1e-4 * log_det.abs().max().double_value(&[]),
    );
}

#[test]
fn prior_samples_come_back_from_their_images() {
    let x = images(1, &[4, 1, 8, 12]);
    let (_vs, flow) = moved(&small([1, 8, 12], 2, 3), Kind::Double, &x, 0.05);
    let eps = prior(&flow, 5, Kind::Double);
    let image = sample(&flow, &eps, 1.0).unwrap();
    assert!(image.min().double_value(&[]) > -0.01 && image.max().double_value(&[]) < 256.01);
    // `encode` dequantises: take its noise back first
    let latents = flow.encode(&(image - 0.5), Cx::default()).unwrap().latents;
    for (back, eps) in latents.0.iter().zip(&eps.0) {
        assert_close("latent", back, eps, 1e-6);
    }
}

#[test]
fn sampled_images_survive_a_round_trip_in_float32() {
    let x = images(1, &[4, 1, 8, 12]).to_kind(Kind::Float);
    let (_vs, flow) = moved(&small([1, 8, 12], 2, 3), Kind::Float, &x, 0.05);
    let image = sample(&flow, &prior(&flow, 5, Kind::Float), 1.0).unwrap();
    let latents = flow.encode(&(&image - 0.5), Cx::default()).unwrap().latents;
    let back = flow.decode(&latents, Cx::default()).unwrap().value;
    assert_close("image", &back, &image, 1e-3);
}

#[test]
fn temperature_scales_the_latents() {
    let x = images(1, &[4, 1, 4, 4]);
    let (_vs, flow) = moved(&small([1, 4, 4], 1, 1), Kind::Double, &x, 0.05);
    let eps = prior(&flow, 2, Kind::Double);
    let half = Latents(eps.0.iter().map(|eps| eps * 0.5).collect());
    let cool = sample(&flow, &eps, 0.5).unwrap();
    assert_close(
        "half",
        &cool,
        &flow.decode(&half, Cx::default()).unwrap().value,
        0.0,
    );
    for temperature in [-1.0, f64::NAN] {
        let err = sample(&flow, &eps, temperature).unwrap_err().to_string();
        assert!(err.contains("`temperature` must be"), "{err}");
    }
}

#[test]
fn the_models_log_det_is_that_of_its_jacobian() {
    let x = images(1, &[3, 1, 4, 8]);
    for split_prior in [Some(5), None] {
        let config = GlowConfig {
            split_prior,
            ..small([1, 4, 8], 2, 2)
        };
        let (_vs, flow) = moved(&config, Kind::Double, &x, 0.3);
        let encoded = flow.encode(&x, Cx::default()).unwrap();
        for i in 0..3 {
            let exact = jacobian_log_det(&x.narrow(0, i, 1), |x| {
                let Latents(latents) = flow.encode(x, Cx::default()).unwrap().latents;
                Tensor::cat(
                    &latents.iter().map(|z| z.reshape([-1])).collect::<Vec<_>>(),
                    0,
                )
            });
            let got = encoded.log_det.double_value(&[i]);
            assert!(
                (got - exact).abs() < 1e-9 * exact.abs(),
                "{got} against {exact}"
            );
        }
    }
}

#[test]
fn the_likelihoods_gradient_is_its_central_difference() {
    let x = images(1, &[3, 1, 4, 4]);
    let config = GlowConfig {
        spline: Some(SplineConfig {
            bins: 3,
            tail: 4.0,
            shared: true,
        }),
        ..small([1, 4, 4], 2, 1)
    };
    let (vs, flow) = moved(&config, Kind::Double, &x, 0.2);
    assert_gradients(&trainable(&vs), 1e-6, || {
        flow.log_prob(&x, Cx::default()).unwrap().sum(Kind::Double)
    });
}

#[test]
fn a_constant_image_under_the_identity_has_the_likelihood_written_down_by_hand() {
    let config = GlowConfig {
        actnorm: false,
        spline: None,
        mixing: inverse_flow(2, 0.0),
        alpha: 1e-3,
        ..small([1, 4, 8], 2, 2)
    };
    let vs = store(Kind::Double);
    let flow = glow(&vs, &config).unwrap();
    for pixel in [0.0, 77.0, 255.0] {
        let x = Tensor::full([2, 1, 4, 8], pixel, (Kind::Double, device()));
        let y: f64 = ((pixel + 0.5) / 256.0 + 1e-3) * (1.0 - 2e-3);
        let z = (y / (1.0 - y)).ln();
        let density = -0.5 * z * z - 0.5 * (2.0 * std::f64::consts::PI).ln();
        let slope = (1.0 - 2e-3f64).ln() - 256f64.ln() - (y * (1.0 - y)).ln();
        let got = flow.log_prob(&x, Cx::default()).unwrap();
        for i in 0..2 {
            let per_dim = got.double_value(&[i]) / 32.0;
            assert!(
                (per_dim - density - slope).abs() < 1e-12,
                "{per_dim} against {}",
                density + slope
            );
        }
        let bpd = bits_per_dim(
            -got.double_value(&[0]),
            ModelConfig::from(config.clone()).dims(),
        );
        assert!((bpd + (density + slope) / std::f64::consts::LN_2).abs() < 1e-12);
    }
}

#[test]
fn the_log_dets_of_the_layers_add_up_to_the_models() {
    // layer by layer through the public parts, each counted once
    use inverse_flow::flows::*;
    let config = GlowConfig {
        levels: 1,
        ..small([1, 4, 6], 1, 1)
    };
    let x = images(1, &[3, 1, 4, 6]);
    let (vs, flow) = moved(&config, Kind::Double, &x, 0.2);
    let twin = store(Kind::Double);
    let root = twin.root() / "levels" / 0;
    let step = &root / "steps" / 0;
    let parts: Vec<Box<dyn Transform>> = vec![
        Box::new(Dequantize::default()),
        Box::new(Scale),
        Box::new(LogitMap::new(1e-6).unwrap()),
        Box::new(Squeeze::new(2).unwrap()),
        Box::new(ActNorm::new(&(&step / "actnorm"), 4).unwrap()),
        Box::new(InvConv::new(&(&step / "inv_conv"), &InvConvConfig::new(4, 2)).unwrap()),
        Box::new(
            Spline::new(
                &(&step / "spline"),
                [4, 2, 3],
                config.spline.as_ref().unwrap(),
            )
            .unwrap(),
        ),
        Box::new(ReverseChannels),
        Box::new(
            Coupling::new(&(&step / "coupling"), 4, |vs, i, o| {
                inverse_flow::nn::CouplingNet::new(vs, i, o, &config.coupling)
            })
            .unwrap(),
        ),
    ];
    let source = vs.variables();
    for (name, mut variable) in named(&twin) {
        tch::no_grad(|| variable.copy_(&source[&name]));
    }
    let kinds: Vec<_> = flow.layers().into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(
        kinds,
        parts.iter().map(|part| part.name()).collect::<Vec<_>>()
    );
    let (mut value, mut sum) = (x.copy(), Tensor::zeros([3], (Kind::Double, device())));
    for part in &parts {
        let mapped = part.forward(&value, Cx::default()).unwrap();
        value = mapped.value;
        sum += mapped.log_det;
    }
    let encoded = flow.encode(&x, Cx::default()).unwrap();
    assert_close("value", &encoded.latents.0[0], &value, 1e-12);
    assert_close("log-det", &encoded.log_det, &sum, 1e-10);
}
