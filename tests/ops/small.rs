//! The small fused operators against their twins in plain tensor operations, and against central differences.

use crate::common::*;
use crate::small_operators::{small_operators, Function, SmallOperator};
use inverse_flow::ops::butterfly::butterfly;
use inverse_flow::ops::log_det::{log_det, Matrix};
use inverse_flow::ops::masked_residual::{
    elu_with_slope, residual_filters, ResidualWeights, Triangle,
};
use inverse_flow::ops::pad::pad;
use inverse_flow::ops::weight_norm::weight_norm;
use tch::{Kind, Tensor};

fn leaves(call: &SmallOperator, kind: Kind) -> Vec<Tensor> {
    let leaf = |t: &Tensor| t.detach().to_kind(kind).set_requires_grad(true);
    call.arguments.iter().map(leaf).collect()
}

fn loss(function: &Function, leaves: &[Tensor]) -> Tensor {
    let weigh = |(seed, output): (u64, Tensor)| {
        let kind = output.kind();
        // not linear: the gradients that come in depend on the call too
        (output.sin() * normal(seed, &output.size()).to_kind(kind)).sum(kind)
    };
    (50..).zip(function(leaves)).map(weigh).sum()
}

fn scale(of: &Tensor) -> f64 {
    1.0 + of.abs().max().double_value(&[])
}

#[test]
fn values_and_gradients_are_those_of_the_twins() {
    for call in small_operators() {
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-6)] {
            let leaves = leaves(&call, kind);
            let (got, expected) = ((call.operator)(&leaves), (call.twin)(&leaves));
            assert_eq!(got.len(), expected.len(), "{}", call.name);
            for (got, expected) in got.iter().zip(&expected) {
                let what = format!("{} {kind:?} value", call.name);
                assert_close(&what, got, expected, tolerance * scale(expected));
            }
            let gradients = |f| Tensor::run_backward(&[loss(f, &leaves)], &leaves, false, false);
            let expected = gradients(&call.twin);
            for (got, expected) in gradients(&call.operator).iter().zip(&expected) {
                let what = format!("{} {kind:?} gradient", call.name);
                assert_close(&what, got, expected, 20.0 * tolerance * scale(expected));
            }
        }
    }
}

#[test]
fn gradients_are_central_differences_and_second_derivatives_those_of_the_twins() {
    for call in small_operators() {
        let leaves = leaves(&call, Kind::Double);
        let named = leaves.iter().enumerate();
        let variables: Vec<_> = named
            // whose elements can be changed in place
            .filter(|(_, t)| t.is_contiguous())
            .map(|(index, t)| (format!("{} {index}", call.name), t.shallow_clone()))
            .collect();
        if !variables.is_empty() {
            assert_gradients(&variables, 1e-5, || loss(&call.operator, &leaves));
        }
        let second = |f: &Function| {
            let first = Tensor::run_backward(&[loss(f, &leaves)], &leaves, true, true);
            let norm: Tensor = first.iter().map(|g| g.square().sum(Kind::Double)).sum();
            norm.requires_grad()
                .then(|| Tensor::run_backward(&[norm], &leaves, false, false))
        };
        let (Some(got), Some(expected)) = (second(&call.operator), second(&call.twin)) else {
            continue;
        };
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!(got.defined(), expected.defined(), "{}", call.name);
            if expected.defined() {
                let what = format!("{} second derivative", call.name);
                assert_close(&what, got, expected, 1e-9 * scale(expected));
            }
        }
    }
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let t = |size: &[i64]| normal(1, size);
    let x = t(&[2, 4, 3, 3]);
    let weights = [t(&[4, 2, 3, 3]), t(&[4, 4, 3, 3]), t(&[2, 4, 3, 3])];
    let filters = |order: [usize; 3], t: &Tensor| {
        let filters = order.map(|index| &weights[index]);
        let weights = ResidualWeights { filters, t };
        residual_filters(&weights, Triangle::Lower).unwrap_err()
    };
    for (err, part) in [
        (
            butterfly(&x, &t(&[1, 2, 2, 17])).unwrap_err(),
            "`factor` must be [blocks, 2, 2, pairs]",
        ),
        (
            butterfly(&x, &t(&[1, 2, 2, 18]).to_kind(Kind::Float)).unwrap_err(),
            "`factor` must be",
        ),
        (log_det(&[], 1).unwrap_err(), "`matrices` must be 1 to 4"),
        (
            log_det(&[(Matrix::Full(&t(&[2, 3])), 1.0)], 1).unwrap_err(),
            "`matrices` must be [d, d]",
        ),
        (
            log_det(&[(Matrix::Update(&t(&[2, 3]), &t(&[2, 3])), 1.0)], 1).unwrap_err(),
            "[P, d] and [d, P]",
        ),
        (
            pad(&x, [0, 0, -2, -2]).unwrap_err(),
            "`x` of [2, 4, 3, 3] cannot lose",
        ),
        (
            pad(&x.get(0), [0; 4]).unwrap_err(),
            "`x` must be [N, C, H, W]",
        ),
        (weight_norm(&[]).unwrap_err(), "`direction` must be 1 to 4"),
        (
            weight_norm(&[(&t(&[4]), &t(&[4]))]).unwrap_err(),
            "`direction` must be [O, ...]",
        ),
        (
            weight_norm(&[(&x, &t(&[3]))]).unwrap_err(),
            "`gain` must be a number for each",
        ),
        (elu_with_slope(&x, 3).unwrap_err(), "a multiple of 3"),
        (filters([0, 1, 1], &t(&[1, 2, 5, 5])), "`filters` must be"),
        (filters([0, 1, 2], &t(&[1, 3, 5, 5])), "`filters` must be"),
    ] {
        assert!(err.to_string().contains(part), "{err}");
    }
}
