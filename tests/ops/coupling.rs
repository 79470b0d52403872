//! The fused affine coupling against its twin in plain tensor operations, and against central differences.

use crate::common::*;
use crate::device::device;
use inverse_flow::ops::coupling::{affine_coupling, reference, AffineForm};
use inverse_flow::ops::Direction;
use tch::{Kind, Tensor};

type Operator =
    fn(&Tensor, &Tensor, AffineForm, Direction) -> inverse_flow::Result<(Tensor, Tensor)>;

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

/// Every form in both directions.
fn maps() -> impl Iterator<Item = (AffineForm, Direction)> {
    let forms = AffineForm::ALL.into_iter();
    forms.flat_map(|form| DIRECTIONS.map(|direction| (form, direction)))
}

/// x, and what the net says about its last `moved` channels.
fn leaves([n, c, h, w]: [i64; 4], moved: i64, kind: Kind) -> [Tensor; 2] {
    let net = normal(2, &[n, 2 * moved, h, w]) * 2.0;
    [normal(1, &[n, c, h, w]), net].map(|t| t.to_kind(kind).set_requires_grad(true))
}

fn loss(
    operator: Operator,
    [x, net]: &[Tensor; 2],
    (form, direction): (AffineForm, Direction),
) -> Tensor {
    let (value, log_det) = operator(x, net, form, direction).unwrap();
    let kind = value.kind();
    // not linear: the gradients that come in depend on the call too
    let weigh = |t: &Tensor, seed| (t.sin() * normal(seed, &t.size()).to_kind(kind)).sum(kind);
    weigh(&value, 5) + weigh(&log_det, 6)
}

#[test]
fn values_log_dets_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-5)] {
        for (size, moved) in [
            ([3, 4, 5, 7], 2),
            ([1, 2, 1, 1], 1),
            ([2, 6, 3, 11], 5),
            ([2, 3, 17, 19], 3),
            ([0, 2, 3, 3], 1),
        ] {
            let leaves = leaves(size, moved, kind);
            for map @ (form, direction) in maps() {
                let (value, log_det) =
                    affine_coupling(&leaves[0], &leaves[1], form, direction).unwrap();
                let expected =
                    reference::affine_coupling(&leaves[0], &leaves[1], form, direction).unwrap();
                let scale = 10.0
                    * if value.numel() == 0 {
                        1.0
                    } else {
                        1.0 + value.abs().max().double_value(&[])
                    };
                assert_close("value", &value, &expected.0, tolerance * scale);
                assert_close("log-det", &log_det, &expected.1, tolerance * 100.0);
                let gradients = |f: Operator| {
                    Tensor::run_backward(&[loss(f, &leaves, map)], &leaves, false, false)
                };
                let expected = gradients(reference::affine_coupling);
                for (got, expected) in gradients(affine_coupling).iter().zip(&expected) {
                    assert_close("gradient", got, expected, tolerance * 10.0 * scale);
                }
            }
        }
    }
}

#[test]
fn gradients_are_central_differences_and_second_derivatives_those_of_the_twin() {
    for map in maps() {
        let leaves = leaves([2, 4, 3, 2], 3, Kind::Double);
        let named = [("x", &leaves[0]), ("net", &leaves[1])];
        let variables = named.map(|(name, t)| (format!("{map:?} {name}"), t.shallow_clone()));
        assert_gradients(&variables, 1e-6, || loss(affine_coupling, &leaves, map));
        let second = |f: Operator| {
            let first = Tensor::run_backward(&[loss(f, &leaves, map)], &leaves, true, true);
            let norm: Tensor = first.iter().map(|g| g.square().sum(Kind::Double)).sum();
            Tensor::run_backward(&[norm], &leaves, false, false)
        };
        let expected = second(reference::affine_coupling);
        for (got, expected) in second(affine_coupling).iter().zip(&expected) {
            let scale = 1.0 + expected.abs().max().double_value(&[]);
            assert_close("second derivative", got, expected, 1e-9 * scale);
        }
    }
}

#[test]
fn a_scale_may_be_as_small_as_numbers_get() {
    // a product of sigmoids would be 0, and its logarithm infinite
    let x = Tensor::ones([1, 3, 20, 30], (Kind::Float, device()));
    let net = Tensor::full([1, 6, 20, 30], -200.0, (Kind::Float, device()));
    let form = AffineForm::Sigmoid;
    let (_, log_det) = affine_coupling(&x, &net, form, Direction::Forward).unwrap();
    let log_det = log_det.double_value(&[0]);
    assert!(
        (log_det / (1800.0 * -198.0) - 1.0).abs() < 1e-6,
        "{log_det}"
    );
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let x = normal(1, &[2, 4, 3, 3]);
    let text = |x: &Tensor, net: &Tensor| {
        affine_coupling(x, net, AffineForm::Bounded, Direction::Forward)
            .unwrap_err()
            .to_string()
    };
    let two_for_each = "`net` must have two channels for each of the moved ones of `x`";
    for (text, part) in [
        (
            text(&x.to_kind(Kind::Int), &x),
            "`x` must be float32 or float64",
        ),
        (text(&x.get(0), &x), "`x` must be [N, C, H, W]"),
        (text(&x, &x.narrow(1, 0, 3)), two_for_each),
        (text(&x, &x.narrow(1, 0, 0)), two_for_each),
        (text(&x.narrow(1, 0, 1), &x), two_for_each),
        (text(&x, &x.narrow(2, 0, 2)), two_for_each),
        (text(&x, &x.get(0)), two_for_each),
        (text(&x, &x.to_kind(Kind::Float)), two_for_each),
    ] {
        assert!(text.contains(part), "{text}");
    }
}
