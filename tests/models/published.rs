//! The networks of MaCow, ButterflyFlow, Woodbury-Glow and MintNet as published: their likelihood and their inverse.

use crate::common::*;
use inverse_flow::distributions::bits_per_dim;
use inverse_flow::flows::*;
use inverse_flow::models::*;
use inverse_flow::{Error, Result};
use tch::{nn, Kind, Tensor};

/// Makes a network, its variables in the path.
type Build = Box<dyn FnOnce(&nn::Path) -> Result<MultiScale>>;

/// Small two-level networks, one of each family.
fn small(image: [i64; 3]) -> Vec<(&'static str, Build)> {
    let block = MaCowBlock { steps: 1, width: 5 };
    let macow = MaCowConfig {
        image,
        units: 1,
        bottom: (image[0] > 1).then(|| block.clone()),
        internal: vec![MaCowSplitBlock {
            steps: vec![1, 1],
            factor: 4,
            width: 5,
        }],
        top: block,
        ..MaCowConfig::table6()
    };
    let butterfly = ButterflyConfig {
        image,
        levels: 2,
        steps: 1,
        width: 5,
        factors: 2,
        init: ButterflyInit::Rotation,
        classes: None,
    };
    let woodbury = WoodburyConfig {
        image,
        levels: 2,
        steps: 1,
        width: 5,
        ranks: WoodburyRanks::MemoryEfficient {
            channels: 2,
            width: 2,
            height: 2,
        },
        classes: None,
    };
    let mintnet = MintNetConfig {
        image,
        layers: 2,
        subsamplings: 1,
        latent: 8,
        alpha: 0.05,
        inverse: FixedPoint::default(),
        classes: None,
    };
    vec![
        ("macow", Box::new(move |vs| macow.build(vs))),
        ("butterfly", Box::new(move |vs| butterfly.build(vs))),
        ("woodbury", Box::new(move |vs| woodbury.build(vs))),
        ("mintnet", Box::new(move |vs| mintnet.build(vs))),
    ]
}

/// Initialised by `first`, then every parameter moved by `N(0, std^2)`.
fn moved(build: Build, kind: Kind, first: &Tensor, std: f64) -> (nn::VarStore, MultiScale) {
    let vs = store(kind);
    let mut flow = seeded(|| build(&vs.root())).unwrap();
    flow.initialize(first, Cx::default()).unwrap();
    shake(&vs, 5, std);
    (vs, flow)
}

fn flat(latents: &Latents) -> Tensor {
    let parts: Vec<_> = latents.0.iter().map(|z| z.flatten(1, -1)).collect();
    Tensor::cat(&parts, 1)
}

#[test]
fn the_log_det_of_a_network_is_that_of_its_jacobian() {
    let x = images(1, &[3, 3, 4, 4]);
    for (name, build) in small([3, 4, 4]) {
        let (_vs, flow) = moved(build, Kind::Double, &x, 0.1);
        let encoded = flow.encode(&x, Cx::default()).unwrap();
        for i in 0..3 {
            let exact = jacobian_log_det(&x.narrow(0, i, 1), |x| {
                flat(&flow.encode(x, Cx::default()).unwrap().latents)
            });
            let got = encoded.log_det.double_value(&[i]);
            assert!(
                (got - exact).abs() < 1e-9 * exact.abs(),
                "{name}: {got}, Jacobian {exact}"
            );
        }
        let log_prob = flow.log_prob(&x, Cx::default()).unwrap();
        let z = flat(&encoded.latents);
        let normal = (z.square() + (2.0 * std::f64::consts::PI).ln()) * -0.5;
        let expected =
            normal.sum_dim_intlist([1i64].as_slice(), false, Kind::Double) + encoded.log_det;
        assert_close(name, &log_prob, &expected, 1e-9);
    }
}

#[test]
fn images_and_prior_samples_come_back() {
    for (image, kind, tol) in [
        ([3, 8, 4], Kind::Double, 1e-6),
        ([1, 4, 8], Kind::Float, 0.02),
    ] {
        let [c, h, w] = image;
        let x = images(1, &[4, c, h, w]).to_kind(kind);
        for (name, build) in small(image) {
            let (_vs, flow) = moved(build, kind, &x, 0.03);
            tch::no_grad(|| {
                let encoded = flow.encode(&x, Cx::default()).unwrap();
                for (latent, chw) in encoded.latents.0.iter().zip(flow.latent_shapes()) {
                    assert_eq!(latent.size()[1..], chw, "{name}");
                }
                let back = flow.decode(&encoded.latents, Cx::default()).unwrap();
                assert_close(name, &(back.value - 0.5), &x, tol);
                let sum = back.log_det + &encoded.log_det;
                let scale = encoded.log_det.abs().max().double_value(&[]);
                assert_close(name, &sum, &sum.zeros_like(), tol * scale);

                let shapes = flow.latent_shapes();
                let eps = (0..)
                    .zip(shapes)
                    .map(|(i, [c, h, w])| normal(40 + i, &[3, c, h, w]).to_kind(kind));
                let eps = Latents(eps.collect());
                let sampled = flow.decode(&eps, Cx::default()).unwrap().value;
                let again = flow
                    .encode(&(sampled - 0.5), Cx::default())
                    .unwrap()
                    .latents;
                assert_close(name, &flat(&again), &flat(&eps), tol);
            });
        }
    }
}

#[test]
fn a_network_of_no_layers_on_noise_costs_what_its_preprocessing_says() {
    // an identity flow: all that counts is the interval of the images and the standard normal prior
    let x = images(1, &[200, 1, 8, 8]);
    let noise = uniform(2, &[200, 1, 8, 8]);
    #[allow(clippy::needless_update)] // a new fact of `Cx` is no business of this test
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    let bpd = |build: Build, prefix: usize| {
        let vs = store(Kind::Double);
        let mut flow = seeded(|| build(&vs.root())).unwrap();
        flow.initialize(&x, cx).unwrap();
        let nll = -flow
            .log_prob(&x, cx)
            .unwrap()
            .mean(Kind::Double)
            .double_value(&[]);
        assert!(flow.layers().len() >= prefix);
        bits_per_dim(nll, 64)
    };
    // E u^2 of u uniform in [-w/2, w/2) is w^2 / 12
    let closed = |width: f64| {
        let nats = 0.5 * (2.0 * std::f64::consts::PI).ln() + width * width / 24.0 - width.ln();
        8.0 + nats / std::f64::consts::LN_2
    };
    let woodbury = WoodburyConfig {
        image: [1, 8, 8],
        levels: 1,
        steps: 0,
        ..WoodburyConfig::table6()
    };
    let got = bpd(Box::new(move |vs| woodbury.build(vs)), 3);
    assert!((got - closed(1.0)).abs() < 0.01, "{got} {}", closed(1.0));
    let butterfly = ButterflyConfig {
        image: [1, 8, 8],
        levels: 1,
        steps: 0,
        ..ButterflyConfig::table6()
    };
    let got = bpd(Box::new(move |vs| butterfly.build(vs)), 3);
    assert!((got - closed(2.0)).abs() < 0.01, "{got} {}", closed(2.0));
}

#[test]
fn mintnets_logit_has_its_margin_on_both_sides_and_its_constants() {
    let lambda = 0.05;
    let layer = LogitMap::symmetric(lambda).unwrap();
    let x = Tensor::from_slice(&[0.0, 0.25, 1.0])
        .view([1, 1, 1, 3])
        .to_device(device());
    let mapped = layer.forward(&x, Cx::default()).unwrap();
    let mut log_det = 3.0 * (1.0 - 2.0 * lambda).ln();
    for (i, x) in (0..).zip([0.0, 0.25, 1.0]) {
        let y = lambda + (1.0 - 2.0 * lambda) * x;
        let z: f64 = (y / (1.0 - y)).ln();
        assert!((mapped.value.double_value(&[0, 0, 0, i]) - z).abs() < 1e-12);
        // softplus(z) + softplus(-z)
        log_det += z.exp().ln_1p() + (-z).exp().ln_1p();
    }
    assert!((mapped.log_det.double_value(&[0]) - log_det).abs() < 1e-12);
}

#[test]
fn the_squeeze_of_macow_keeps_the_colours_of_a_pixel_together() {
    let x = Tensor::arange(24, (Kind::Double, device())).view([1, 3, 2, 4]);
    let z = Squeeze::block_major(2)
        .unwrap()
        .forward(&x, Cx::default())
        .unwrap()
        .value;
    for (c, dy, dx) in (0..3).flat_map(|c| (0..4).map(move |block| (c, block / 2, block % 2))) {
        let got = z.double_value(&[0, (2 * dy + dx) * 3 + c, 0, 1]);
        assert_eq!(got, x.double_value(&[0, c, dy, 2 + dx]));
    }
}

#[test]
fn networks_need_their_first_batch_and_keep_it() {
    let x = images(1, &[3, 3, 4, 4]);
    for (name, build) in small([3, 4, 4]) {
        if name == "mintnet" {
            continue; // nothing in it depends on data
        }
        let vs = store(Kind::Double);
        let mut flow = seeded(|| build(&vs.root())).unwrap();
        let err = flow.encode(&x, Cx::default()).unwrap_err();
        assert!(matches!(err, Error::NotInitialized { .. }), "{name}: {err}");
        flow.initialize(&x, Cx::default()).unwrap();
        let before: Vec<_> = named(&vs).into_iter().map(|(_, v)| v.copy()).collect();
        flow.initialize(&(&x * 0.5), Cx::default()).unwrap();
        for ((variable, after), before) in named(&vs).into_iter().zip(before) {
            assert!(after.equal(&before), "{name}: {variable} moved");
        }
        assert_eq!(flow.first_non_finite(&x, Cx::default()).unwrap(), None);
        for (variable, _) in named(&vs) {
            assert!(!variable.contains("__"), "{variable}");
        }
    }
}

/// The names in `vs` that begin with `prefix`, without it.
fn names(vs: &nn::VarStore, prefix: &str) -> Vec<String> {
    named(vs)
        .into_iter()
        .filter_map(|(name, _)| name.strip_prefix(prefix).map(str::to_owned))
        .collect()
}

#[test]
fn variables_have_the_names_that_checkpoints_rely_on() {
    const ACTNORM: [&str; 3] = ["actnorm.initialized", "actnorm.loc", "actnorm.log_scale"];
    const WEIGHT_NORM_NET: [&str; 11] = [
        "coupling.net.0.bias",
        "coupling.net.0.direction",
        "coupling.net.0.gain",
        "coupling.net.0.initialized",
        "coupling.net.2.bias",
        "coupling.net.2.direction",
        "coupling.net.2.gain",
        "coupling.net.2.initialized",
        "coupling.net.4.bias",
        "coupling.net.4.direction",
        "coupling.net.4.gain",
    ];
    for (name, build) in small([3, 8, 8]) {
        let vs = store(Kind::Float);
        build(&vs.root()).unwrap();
        let check = |prefix: &str, parts: &[&[&str]]| {
            assert_eq!(names(&vs, prefix), parts.concat(), "{name}: {prefix}");
        };
        match name {
            "macow" => {
                let prior: [&[&str]; 3] = [&ACTNORM, &["conv1x1.weight"], &WEIGHT_NORM_NET];
                check("blocks.1.parts.1.prior.", &prior);
                let unit = "blocks.0.steps.0.units.0.";
                check(
                    &format!("{unit}actnorm.1."),
                    &[&["initialized", "loc", "log_scale"]],
                );
                check(
                    &format!("{unit}masked.d."),
                    &[
                        &["look.bias", "look.direction", "look.gain"],
                        &["look.initialized"],
                        &["project.bias", "project.direction", "project.gain"],
                    ],
                );
                assert!(!names(&vs, "blocks.2.steps.0.coupling.").is_empty());
            }
            "butterfly" => {
                let factors = ["butterfly.factors.0", "butterfly.factors.1"];
                let conv = ["conv1x1.weight"];
                let step: [&[&str]; 4] = [&ACTNORM, &factors, &conv, &WEIGHT_NORM_NET];
                check("levels.0.steps.0.", &step);
                check("levels.0.prior.", &step);
            }
            "woodbury" => {
                let net = [
                    "coupling.net.0.initialized",
                    "coupling.net.0.log_scale",
                    "coupling.net.0.shift",
                    "coupling.net.0.weight",
                    "coupling.net.2.initialized",
                    "coupling.net.2.log_scale",
                    "coupling.net.2.shift",
                    "coupling.net.2.weight",
                    "coupling.net.4.bias",
                    "coupling.net.4.logs",
                    "coupling.net.4.second_bias",
                    "coupling.net.4.weight",
                ];
                let linear = [
                    "woodbury.channels.u",
                    "woodbury.channels.v",
                    "woodbury.height.u",
                    "woodbury.height.v",
                    "woodbury.width.u",
                    "woodbury.width.v",
                ];
                check("levels.0.steps.0.", &[&ACTNORM, &net, &linear]);
                let prior = ["net.bias", "net.logs", "net.second_bias", "net.weight"];
                check("levels.0.prior.", &[&prior]);
                check("prior.", &[&["log_std", "mean"]]);
            }
            _ => {
                let biases = ["bias1", "bias2", "bias3", "t"];
                let weights = ["weight1", "weight2", "weight3"];
                check("layers.1.lower.", &[&biases, &weights]);
                check("layers.1.upper.", &[&biases, &weights]);
            }
        }
    }
}

#[test]
fn every_parameter_of_a_network_takes_part() {
    // on a single pixel a masked convolution would see nothing
    let x = images(1, &[3, 3, 8, 8]);
    for (name, build) in small([3, 8, 8]) {
        let (vs, flow) = moved(build, Kind::Double, &x, 0.1);
        let variables = trainable(&vs);
        let leaves: Vec<_> = variables.iter().map(|(_, variable)| variable).collect();
        let loss = flow.log_prob(&x, Cx::default()).unwrap().sum(Kind::Double);
        let gradients = Tensor::run_backward(&[loss], &leaves, false, false);
        for ((variable, _), gradient) in variables.iter().zip(gradients) {
            let largest = gradient.abs().max().double_value(&[]);
            assert!(largest > 0.0, "{name}: {variable} has no gradient");
        }
    }
}
