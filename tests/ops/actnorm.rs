//! The fused affine maps per channel against their twins in plain tensor operations, and against central differences.

use crate::common::*;
use inverse_flow::ops::actnorm::{actnorm, reference, scale_channels};
use inverse_flow::ops::Direction;
use tch::{Kind, Tensor};

type Operator = fn(&Tensor, &Tensor, &Tensor, Direction) -> inverse_flow::Result<(Tensor, Tensor)>;

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

fn leaves(size: &[i64], kind: Kind) -> [Tensor; 3] {
    [
        normal(1, size),
        normal(2, &size[1..2]),
        normal(3, &size[1..2]),
    ]
    .map(|t| t.to_kind(kind).set_requires_grad(true))
}

fn loss(operator: Operator, [x, loc, log_scale]: &[Tensor; 3], direction: Direction) -> Tensor {
    let (value, log_det) = operator(x, loc, log_scale, direction).unwrap();
    let kind = value.kind();
    // not linear: the gradients that come in depend on the call too
    let weigh = |t: &Tensor, seed| (t.sin() * normal(seed, &t.size()).to_kind(kind)).sum(kind);
    weigh(&value, 5) + weigh(&log_det, 6)
}

#[test]
fn values_log_dets_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 1e-3)] {
        for size in [[3, 4, 5, 7], [1, 1, 1, 1], [2, 3, 3, 11], [0, 2, 3, 3]] {
            let leaves = leaves(&size, kind);
            let [x, loc, log_scale] = &leaves;
            for direction in DIRECTIONS {
                let (value, log_det) = actnorm(x, loc, log_scale, direction).unwrap();
                let expected = reference::actnorm(x, loc, log_scale, direction).unwrap();
                assert_close("value", &value, &expected.0, tolerance);
                assert_close("log-det", &log_det, &expected.1, tolerance);
                let gradients = |f: Operator| {
                    Tensor::run_backward(&[loss(f, &leaves, direction)], &leaves, false, false)
                };
                let expected = gradients(reference::actnorm);
                for (got, expected) in gradients(actnorm).iter().zip(&expected) {
                    assert_close("gradient", got, expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn gradients_are_central_differences_and_second_derivatives_those_of_the_twin() {
    let leaves = leaves(&[2, 3, 3, 4], Kind::Double);
    for direction in DIRECTIONS {
        let names = ["x", "loc", "log_scale"];
        let variables: Vec<_> = (names.iter().zip(&leaves))
            .map(|(name, t)| (format!("{direction:?} {name}"), t.shallow_clone()))
            .collect();
        assert_gradients(&variables, 1e-6, || loss(actnorm, &leaves, direction));
        let second = |f: Operator| {
            let first = Tensor::run_backward(&[loss(f, &leaves, direction)], &leaves, true, true);
            let norm: Tensor = first.iter().map(|g| g.square().sum(Kind::Double)).sum();
            Tensor::run_backward(&[norm], &leaves, false, false)
        };
        let expected = second(reference::actnorm);
        for (got, expected) in second(actnorm).iter().zip(&expected) {
            assert_close("second derivative", got, expected, 1e-8);
        }
    }
}

#[test]
fn a_convolutions_own_scale_is_that_of_the_twin() {
    type Scale = fn(&Tensor, &Tensor, &Tensor, f64) -> inverse_flow::Result<Tensor>;
    let loss = |f: Scale, [x, bias, logs]: &[Tensor; 3]| {
        let value = f(x, bias, logs, 3.0).unwrap();
        let kind = value.kind();
        let weights = normal(5, &value.size()).to_kind(kind);
        (value * weights).sum(kind)
    };
    for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 1e-2)] {
        for size in [[3, 4, 5, 7], [1, 1, 1, 1], [2, 3, 3, 11], [0, 2, 3, 3]] {
            let leaves = leaves(&size, kind);
            let [x, bias, logs] = &leaves;
            let value = scale_channels(x, bias, logs, 3.0).unwrap();
            let expected = reference::scale_channels(x, bias, logs, 3.0).unwrap();
            assert_close("value", &value, &expected, tolerance);
            let gradients = |f| Tensor::run_backward(&[loss(f, &leaves)], &leaves, false, false);
            let expected = gradients(reference::scale_channels);
            for (got, expected) in gradients(scale_channels).iter().zip(&expected) {
                assert_close("gradient", got, expected, 10.0 * tolerance);
            }
        }
    }
    let leaves = leaves(&[2, 3, 3, 4], Kind::Double);
    let names = ["x", "bias", "logs"];
    let variables: Vec<_> = (names.iter().zip(&leaves))
        .map(|(name, t)| (name.to_string(), t.shallow_clone()))
        .collect();
    assert_gradients(&variables, 1e-5, || loss(scale_channels, &leaves));
    let [x, bias, logs] = &leaves;
    let err = scale_channels(x, &bias.narrow(0, 0, 2), logs, 3.0).unwrap_err();
    assert!(err.to_string().contains("`bias` must be"), "{err}");
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let [x, loc, log_scale] = leaves(&[2, 4, 3, 3], Kind::Double);
    let text = |x: &Tensor, loc: &Tensor, log_scale: &Tensor| {
        let result = actnorm(x, loc, log_scale, Direction::Forward);
        result.unwrap_err().to_string()
    };
    for (text, part) in [
        (
            text(&x.to_kind(Kind::Int), &loc, &log_scale),
            "`x` must be [N, C, H, W]",
        ),
        (
            text(&x.get(0), &loc, &log_scale),
            "`x` must be [N, C, H, W]",
        ),
        (text(&x, &loc.narrow(0, 0, 3), &log_scale), "`loc` must be"),
        (
            text(&x, &loc, &log_scale.to_kind(Kind::Float)),
            "`log_scale` must be",
        ),
    ] {
        assert!(text.contains(part), "{text}");
    }
}
