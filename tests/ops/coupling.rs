//! The fused affine coupling against its twin in plain tensor operations, and against central differences.

use crate::common::*;
use inverse_flow::ops::coupling::{affine_coupling, reference};
use inverse_flow::ops::Direction;
use tch::{Kind, Tensor};

type Operator = fn(&Tensor, &Tensor, Direction) -> inverse_flow::Result<(Tensor, Tensor)>;

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

fn leaves(size: &[i64], kind: Kind) -> [Tensor; 2] {
    let net = normal(2, size) * 2.0;
    [normal(1, size), net].map(|t| t.to_kind(kind).set_requires_grad(true))
}

fn loss(operator: Operator, [x, net]: &[Tensor; 2], direction: Direction) -> Tensor {
    let (value, log_det) = operator(x, net, direction).unwrap();
    let kind = value.kind();
    let weigh = |t: &Tensor, seed| (t * normal(seed, &t.size()).to_kind(kind)).sum(kind);
    weigh(&value, 5) + weigh(&log_det, 6)
}

#[test]
fn values_log_dets_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-5)] {
        for size in [[3, 4, 5, 7], [1, 2, 1, 1], [2, 6, 3, 11], [0, 2, 3, 3]] {
            let leaves = leaves(&size, kind);
            for direction in DIRECTIONS {
                let (value, log_det) = affine_coupling(&leaves[0], &leaves[1], direction).unwrap();
                let expected =
                    reference::affine_coupling(&leaves[0], &leaves[1], direction).unwrap();
                assert_close("value", &value, &expected.0, tolerance * 10.0);
                assert_close("log-det", &log_det, &expected.1, tolerance * 10.0);
                let gradients = |f: Operator| {
                    Tensor::run_backward(&[loss(f, &leaves, direction)], &leaves, false, false)
                };
                let expected = gradients(reference::affine_coupling);
                for (got, expected) in gradients(affine_coupling).iter().zip(&expected) {
                    assert_close("gradient", got, expected, tolerance * 50.0);
                }
            }
        }
    }
}

#[test]
fn gradients_are_central_differences_and_second_derivatives_those_of_the_twin() {
    let leaves = leaves(&[2, 4, 3, 2], Kind::Double);
    for direction in DIRECTIONS {
        let named = [("x", &leaves[0]), ("net", &leaves[1])];
        let variables = named.map(|(name, t)| (format!("{direction:?} {name}"), t.shallow_clone()));
        assert_gradients(&variables, 1e-6, || {
            loss(affine_coupling, &leaves, direction)
        });
        let second = |f: Operator| {
            let first = Tensor::run_backward(&[loss(f, &leaves, direction)], &leaves, true, true);
            let norm: Tensor = first.iter().map(|g| g.square().sum(Kind::Double)).sum();
            Tensor::run_backward(&[norm], &leaves, false, false)
        };
        let expected = second(reference::affine_coupling);
        for (got, expected) in second(affine_coupling).iter().zip(&expected) {
            assert_close("second derivative", got, expected, 1e-9);
        }
    }
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let x = normal(1, &[2, 4, 3, 3]);
    let text = |x: &Tensor, net: &Tensor| {
        affine_coupling(x, net, Direction::Forward)
            .unwrap_err()
            .to_string()
    };
    for (text, part) in [
        (
            text(&x.to_kind(Kind::Int), &x),
            "`x` must be float32 or float64",
        ),
        (text(&x.narrow(1, 0, 3), &x), "even C"),
        (text(&x.get(0), &x), "must be [N, C, H, W]"),
        (text(&x, &x.narrow(1, 0, 2)), "`net` must be like `x`"),
        (text(&x, &x.to_kind(Kind::Float)), "`net` must be like `x`"),
    ] {
        assert!(text.contains(part), "{text}");
    }
}
