//! An image and its first channels against plain narrowing, and against central differences.

use crate::common::*;
use inverse_flow::ops::channels::first_channels;
use tch::{Kind, Tensor};

type Operator = fn(&Tensor, i64) -> (Tensor, Tensor);

fn fused(x: &Tensor, count: i64) -> (Tensor, Tensor) {
    first_channels(x, count).unwrap()
}

fn narrowed(x: &Tensor, count: i64) -> (Tensor, Tensor) {
    (x.shallow_clone(), x.narrow(1, 0, count))
}

/// Uses of the image, of its first channels, or of both.
const USES: [[bool; 2]; 3] = [[true, true], [true, false], [false, true]];

fn loss(operator: Operator, x: &Tensor, count: i64, [value, first]: [bool; 2]) -> Tensor {
    let made = operator(x, count);
    let kind = x.kind();
    let weigh = |t: &Tensor, seed| {
        let weight = normal(seed, &t.size()).to_kind(kind);
        (t.square() * weight).sum(kind)
    };
    let mut sum = Tensor::zeros([0_i64; 0], (kind, x.device()));
    if value {
        sum += weigh(&made.0, 5);
    }
    if first {
        sum += weigh(&made.1, 6);
    }
    sum
}

#[test]
fn values_and_gradients_are_those_of_narrowing() {
    for kind in [Kind::Double, Kind::Float] {
        for (size, count) in [
            ([3, 4, 5, 7], 2),
            ([1, 2, 1, 1], 1),
            ([2, 5, 3, 11], 3),
            ([0, 2, 3, 3], 1),
            ([2, 3, 2, 2], 3),
            ([2, 3, 2, 2], 0),
        ] {
            let x = normal(1, &size).to_kind(kind);
            // a view with strides of its own
            let strided = x.transpose(2, 3).contiguous().transpose(2, 3);
            for x in [x, strided] {
                let x = x.set_requires_grad(true);
                let (value, first) = fused(&x, count);
                assert!(value.equal(&x) && first.equal(&x.narrow(1, 0, count)));
                for uses in USES {
                    let of = |f: Operator| {
                        let loss = loss(f, &x, count, uses);
                        Tensor::run_backward(&[loss], &[&x], false, false).remove(0)
                    };
                    let (got, expected) = (of(fused), of(narrowed));
                    assert!(got.equal(&expected), "{size:?} {count} {kind:?} {uses:?}");
                }
            }
        }
    }
}

#[test]
fn gradients_are_central_differences_and_second_derivatives_those_of_narrowing() {
    let x = normal(1, &[2, 4, 3, 2]).set_requires_grad(true);
    for uses in USES {
        let variables = [(format!("x, {uses:?}"), x.shallow_clone())];
        assert_gradients(&variables, 1e-6, || loss(fused, &x, 3, uses));
        let second = |f: Operator| {
            let loss = loss(f, &x, 3, uses);
            let first = Tensor::run_backward(&[loss], &[&x], true, true).remove(0);
            let norm = (first.square() * &x).sum(Kind::Double);
            Tensor::run_backward(&[norm], &[&x], false, false).remove(0)
        };
        assert_close(
            "second derivative",
            &second(fused),
            &second(narrowed),
            1e-12,
        );
    }
}

/// Whoever holds the incoming gradient sees it unchanged.
#[test]
fn the_incoming_gradient_is_left_alone() {
    let x = normal(1, &[2, 4, 3, 3]).set_requires_grad(true);
    let (value, first) = fused(&x, 2);
    let incoming = [normal(2, &value.size()), normal(3, &first.size())];
    let kept = incoming.each_ref().map(Tensor::copy);
    let loss =
        (&value * &incoming[0]).sum(Kind::Double) + (&first * &incoming[1]).sum(Kind::Double);
    loss.backward();
    for (incoming, kept) in incoming.iter().zip(&kept) {
        assert!(incoming.equal(kept));
    }
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let x = normal(1, &[2, 4, 3, 3]);
    for (x, count, part) in [
        (
            x.shallow_clone(),
            5,
            "`count` must be a number from 0 to 4, got 5",
        ),
        (x.shallow_clone(), -1, "got -1"),
        (x.get(0), 1, "`x` must be [N, C, H, W]"),
        (x.to_kind(Kind::Int), 1, "float32 or float64"),
    ] {
        let err = first_channels(&x, count).unwrap_err().to_string();
        assert!(err.contains(part), "{err}");
    }
}
