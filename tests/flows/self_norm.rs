//! Self-normalizing convolutions: what the surrogate gradient is, and what keeps it one.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::Error;
use tch::{nn, nn::OptimizerConfig, Kind, Tensor};

fn layer(channels: i64, kernel: i64) -> (nn::VarStore, SelfNorm) {
    let config = SelfNormConfig {
        kernel,
        ..Default::default()
    };
    let vs = store(Kind::Double);
    let layer = seeded(|| SelfNorm::new(&vs.root(), channels, &config)).unwrap();
    (vs, layer)
}

/// Makes R of a 1x1 layer the inverse of W.
fn invert(vs: &nn::VarStore) {
    let variables = vs.variables();
    let (weight, mut inverse) = (&variables["weight"], variables["inverse"].shallow_clone());
    let c = weight.size()[0];
    let exact = Tensor::linalg_inv(&weight.view([c, c]));
    tch::no_grad(|| inverse.copy_(&exact.view([c, c, 1, 1])));
}

/// Gradients of `weight`, `inverse`, `bias` and the input under a loss that weighs every output on its own.
fn gradients(vs: &nn::VarStore, x: &Tensor, forward: impl Fn() -> Mapped) -> Vec<Tensor> {
    let variables = vs.variables();
    let [weight, inverse, bias] = ["weight", "inverse", "bias"].map(|name| &variables[name]);
    Tensor::run_backward(
        &[probe(&forward(), 11)],
        &[weight, inverse, bias, x],
        true,
        false,
    )
}

#[test]
fn with_an_exact_inverse_the_gradient_of_w_is_half_the_exact_one_and_the_rest_is_exact() {
    let (vs, layer) = layer(5, 1);
    shake(&vs, 2, 0.2);
    invert(&vs);
    let x = normal(3, &[4, 5, 3, 2]).set_requires_grad(true);
    let losses = AuxiliaryLosses::default();
    let training = Cx {
        training: Some(&losses),
        ..Cx::default()
    };
    let surrogate = gradients(&vs, &x, || layer.forward(&x, training).unwrap());
    let exact = gradients(&vs, &x, || layer.forward(&x, Cx::default()).unwrap());
    assert_close("weight", &(&surrogate[0] * 2.0), &exact[0], 1e-10);
    assert_close("bias", &surrogate[2], &exact[2], 1e-12);
    assert_close("input", &surrogate[3], &exact[3], 1e-12);

    // the same map parametrised by R
    let inverse = &vs.variables()["inverse"];
    let by_inverse = || {
        let matrix = Tensor::linalg_inv(&inverse.view([5, 5]));
        let value = x.conv2d(
            &matrix.view([5, 5, 1, 1]),
            Some(&vs.variables()["bias"]),
            [1],
            [0],
            [1],
            1,
        );
        let log_det = (matrix.slogdet().1 * 6.0).expand([4], false);
        Mapped { value, log_det }
    };
    let exact = gradients(&vs, &x, by_inverse);
    assert_close("inverse", &(&surrogate[1] * 2.0), &exact[1], 1e-10);
}

#[test]
fn a_centred_filter_gets_the_gradient_that_is_written_down_tap_by_tap() {
    let (c, k, h, w) = (2, 3, 4, 5);
    let (vs, layer) = layer(c, k);
    shake(&vs, 4, 0.3);
    let x = normal(5, &[3, c, h, w]);
    let losses = AuxiliaryLosses::default();
    let training = Cx {
        training: Some(&losses),
        ..Cx::default()
    };
    let got = gradients(&vs, &x.copy().set_requires_grad(true), || {
        layer.forward(&x, training).unwrap()
    });
    // `probe` weighs the outputs with these
    let d = normal(11, &[3, c, h, w]);
    let s: f64 = normal(12, &[3]).sum(Kind::Double).double_value(&[]);
    let variables = vs.variables();
    let (weight, inverse) = (&variables["weight"], &variables["inverse"]);
    let conv = |x: &Tensor, f: &Tensor| x.conv2d(f, None::<Tensor>, [1], [1], [1], 1);
    let z = conv(&x, weight);
    let dx = conv(&d, &weight.transpose(0, 1).flip([2, 3]));
    let at = |t: &Tensor, n, c, y: i64, x: i64| {
        let inside = (0..h).contains(&y) && (0..w).contains(&x);
        if inside {
            t.double_value(&[n, c, y, x])
        } else {
            0.0
        }
    };
    for (o, i, a, b) in [
        (0i64, 1i64, 0i64, 0i64),
        (1, 0, 2, 1),
        (1, 1, 1, 1),
        (0, 0, 1, 2),
    ] {
        let (up, left) = (a - 1, b - 1);
        let count = ((h - up.abs()) * (w - left.abs())) as f64;
        let sum = |seen: &Tensor, gradient: &Tensor| {
            let mut sum = 0.0;
            for (n, y, x) in (0..3 * h * w).map(|p| (p / (h * w), p / w % h, p % w)) {
                sum += at(gradient, n, o, y, x) * at(seen, n, i, y + up, x + left);
            }
            sum
        };
        let flipped = |f: &Tensor| f.double_value(&[i, o, 2 - a, 2 - b]);
        let expected = 0.5 * (sum(&x, &d) + s * count * flipped(inverse));
        let value = got[0].double_value(&[o, i, a, b]);
        assert!((value - expected).abs() < 1e-10, "W: {value} {expected}");
        let expected = -0.5 * (sum(&z, &dx) + s * count * flipped(weight));
        let value = got[1].double_value(&[o, i, a, b]);
        assert!((value - expected).abs() < 1e-10, "R: {value} {expected}");
    }
}

#[test]
fn training_leaves_the_log_det_out_and_evaluation_computes_it() {
    for kernel in [1, 3] {
        let (vs, layer) = layer(3, kernel);
        shake(&vs, 6, 0.1);
        let x = normal(7, &[2, 3, 4, 2]);
        let losses = AuxiliaryLosses::default();
        let training = Cx {
            training: Some(&losses),
            ..Cx::default()
        };
        let trained = layer.forward(&x, training).unwrap();
        let evaluated = layer.forward(&x, Cx::default()).unwrap();
        assert_close("value", &trained.value, &evaluated.value, 1e-12);
        assert!(trained.log_det.equal(&zero_log_det(&x).unwrap()));
        let loss = losses.total().unwrap().unwrap();
        assert_close("loss", &loss, &layer.reconstruction_loss(&x).unwrap(), 0.0);
        assert!(evaluated.log_det.abs().min().double_value(&[]) > 1e-3);
        if kernel == 1 {
            let weight = vs.variables()["weight"].view([3, 3]);
            let expected = (weight.slogdet().1 * 8.0).expand([2], false);
            assert_close("log-det", &evaluated.log_det, &expected, 1e-10);
        }
    }
}

#[test]
fn at_the_start_the_approximate_inverse_is_near_the_exact_one() {
    // a rotation's transpose is its inverse; beside the identity it is one up to the noise
    for (kernel, allowed) in [(1, 1e-12), (3, 0.1)] {
        let (_vs, layer) = layer(4, kernel);
        let x = normal(8, &[3, 4, 5, 3]);
        let z = layer.forward(&x, Cx::default()).unwrap().value;
        let approximate = layer.approximate_inverse(&z).unwrap();
        assert_close("approximate inverse", &approximate, &x, allowed);
        let exact = layer.inverse(&z, Cx::default()).unwrap().value;
        assert_close("exact inverse", &exact, &x, 1e-12);
        let error = (approximate - &x).square().sum(Kind::Double) * (100.0 / 3.0);
        let loss = layer.reconstruction_loss(&x).unwrap();
        assert_close("reconstruction loss", &loss, &error, 1e-9);
    }
}

#[test]
fn the_reconstruction_loss_is_its_formula_and_has_its_gradient() {
    for symmetric in [false, true] {
        let config = SelfNormConfig {
            kernel: 3,
            lambda: 7.0,
            symmetric,
        };
        let vs = store(Kind::Double);
        let layer = SelfNorm::new(&vs.root(), 2, &config).unwrap();
        shake(&vs, 9, 0.2);
        let x = normal(10, &[3, 2, 4, 3]).set_requires_grad(true);
        let variables = vs.variables();
        let filter = |name: &str| variables[name].shallow_clone();
        let conv = |x: &Tensor, f: &Tensor| x.conv2d(f, None::<Tensor>, [1], [1], [1], 1);
        let formula = || {
            let x = x.detach();
            let z = conv(&x, &filter("weight"));
            let back = conv(&z, &filter("inverse"));
            let error = (&x - &back).square().sum(Kind::Double) * (7.0 / 3.0);
            let other = (z.detach() - conv(&back, &filter("weight"))).square();
            match symmetric {
                false => error,
                true => (error + other.sum(Kind::Double) * (7.0 / 3.0)) * 0.5,
            }
        };
        let leaves = [&filter("weight"), &filter("inverse")];
        let loss = layer.reconstruction_loss(&x).unwrap();
        assert_close("loss", &loss, &formula(), 1e-10);
        let got = Tensor::run_backward(&[loss], &leaves, false, false);
        let expected = Tensor::run_backward(&[formula()], &leaves, false, false);
        for (got, expected) in got.iter().zip(&expected) {
            assert_close("gradient", got, expected, 1e-9);
        }
        let loss = layer.reconstruction_loss(&x).unwrap();
        let input = Tensor::run_backward(&[loss], &[&x], false, false);
        assert!(!input[0].defined(), "the input gets no gradient from it");
    }
}

#[test]
fn a_training_step_differentiates_the_reconstruction_loss_by_its_own_formulas() {
    for (kernel, symmetric) in [(1, false), (1, true), (3, false), (3, true)] {
        let config = SelfNormConfig {
            kernel,
            lambda: 7.0,
            symmetric,
        };
        let vs = store(Kind::Double);
        let layer = SelfNorm::new(&vs.root(), 2, &config).unwrap();
        shake(&vs, 9, 0.2);
        let x = normal(10, &[3, 2, 4, 3]).set_requires_grad(true);
        let variables = vs.variables();
        let leaves = ["weight", "inverse", "bias"].map(|name| &variables[name]);
        let leaves = [leaves[0], leaves[1], leaves[2], &x];
        let trained = |factor: f64| {
            let losses = AuxiliaryLosses::default();
            let cx = Cx {
                training: Some(&losses),
                ..Cx::default()
            };
            let mapped = layer.forward(&x, cx).unwrap();
            probe(&mapped, 11) + losses.total().unwrap().unwrap() * factor
        };
        let gradients = |loss: Tensor| Tensor::run_backward(&[loss], &leaves, true, false);
        // of the likelihood alone, and what the recorded loss adds to it
        let without = gradients(trained(0.0));
        let loss = layer.reconstruction_loss(&x).unwrap() * 1.5;
        let added = Tensor::run_backward(&[loss], &leaves[..2], false, false);
        for (index, got) in gradients(trained(1.5)).iter().enumerate() {
            let mut expected = without[index].shallow_clone();
            if let Some(added) = added.get(index) {
                expected += added;
            }
            let what = format!("kernel {kernel}, symmetric {symmetric}, gradient {index}");
            assert_close(&what, got, &expected, 1e-9);
        }
    }
}

#[test]
fn training_raises_the_likelihood_and_keeps_the_inverse_good() {
    // data with strong correlations between the channels: the layer has something to find
    let config = SelfNormConfig {
        lambda: 10.0,
        ..Default::default()
    };
    let vs = store(Kind::Double);
    let layer = SelfNorm::new(&vs.root(), 4, &config).unwrap();
    let mixing = normal(20, &[4, 4]) * 0.3 + Tensor::eye(4, (Kind::Double, device()));
    let x = Tensor::einsum(
        "oi,nihw->nohw",
        &[&mixing, &normal(21, &[30, 4, 3, 5])],
        None::<i64>,
    );
    let nll = |mapped: &Mapped| {
        let density = sum_per_sample(&mapped.value.square()).unwrap() * -0.5;
        -(density + &mapped.log_det).mean(Kind::Double)
    };
    let exact = || nll(&layer.forward(&x, Cx::default()).unwrap()).double_value(&[]);
    let start = exact();
    let mut adam = nn::Adam::default().build(&vs, 1e-2).unwrap();
    for _ in 0..800 {
        let losses = AuxiliaryLosses::default();
        let cx = Cx {
            training: Some(&losses),
            ..Cx::default()
        };
        let mapped = layer.forward(&x, cx).unwrap();
        adam.backward_step(&(nll(&mapped) + losses.total().unwrap().unwrap()));
    }
    // the best linear map has the entropy of the data's covariance
    let rows = x.transpose(0, 1).reshape([4, -1]);
    let covariance = rows.matmul(&rows.transpose(0, 1)) / 450.0;
    let best = (covariance.logdet().double_value(&[]) + 4.0) * 0.5 * 15.0;
    let end = exact();
    assert!(end < best + 0.1 * (start - best), "{start} {end} {best}");
    let z = layer.forward(&x, Cx::default()).unwrap().value;
    let back = layer.approximate_inverse(&z).unwrap();
    let error = (&back - &x).square().mean(Kind::Double).double_value(&[]);
    assert!(error < 1e-2, "{error}");
    assert_bijective("after training", &layer, &x, 1e-9);
}

#[test]
fn impossible_layers_are_configuration_errors() {
    let vs = store(Kind::Double);
    for (kernel, lambda, part) in [
        (2, 1.0, "must be odd"),
        (0, 1.0, "`kernel`"),
        (1, -1.0, "`lambda`"),
        (1, f64::NAN, "`lambda`"),
    ] {
        let config = SelfNormConfig {
            kernel,
            lambda,
            symmetric: false,
        };
        let err = SelfNorm::new(&vs.root(), 4, &config).unwrap_err();
        assert!(matches!(err, Error::Config(_)), "{err}");
        assert!(err.to_string().contains(part), "{err}");
    }
    assert!(SelfNorm::new(&vs.root(), 0, &SelfNormConfig::default()).is_err());
    assert!(vs.is_empty());
}
