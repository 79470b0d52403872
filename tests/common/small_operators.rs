//! The operators that are one launch a pass and little besides, as functions of all their tensors, with their twins.

use crate::random::normal;
use inverse_flow::ops::butterfly::{self, butterfly};
use inverse_flow::ops::log_det::{self, log_det, Matrix};
use inverse_flow::ops::masked_residual::{self, *};
use inverse_flow::ops::pad::{self, pad};
use inverse_flow::ops::weight_norm::{self, weight_norm};
use inverse_flow::Result;
use tch::{Kind, Tensor};

/// An operator on several pairs of tensors.
type OfPairs = fn(&[(&Tensor, &Tensor)]) -> Result<Vec<Tensor>>;

/// An operator, or its twin.
pub type Function = Box<dyn Fn(&[Tensor]) -> Vec<Tensor>>;

/// One call.
pub struct SmallOperator {
    pub name: String,
    #[allow(dead_code)] // the program `cuda` runs its kernels instead
    pub operator: Function,
    pub twin: Function,
    /// float64; some are not contiguous.
    pub arguments: Vec<Tensor>,
}

fn call(
    name: impl Into<String>,
    arguments: Vec<Tensor>,
    operator: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + 'static,
    twin: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + 'static,
) -> SmallOperator {
    SmallOperator {
        name: name.into(),
        operator: Box::new(move |t| operator(t).unwrap()),
        twin: Box::new(move |t| twin(t).unwrap()),
        arguments,
    }
}

fn two((a, b): (Tensor, Tensor)) -> Vec<Tensor> {
    vec![a, b]
}

fn all(made: ResidualFilters) -> Vec<Tensor> {
    let [first, second, third] = made.filters;
    vec![first, second, third, made.paths, made.slope]
}

/// A near-identity matrix, of which the elements are not in the order of memory.
fn turned(order: i64, seed: u64) -> Tensor {
    let one = Tensor::eye(order, (Kind::Double, crate::device::device()));
    (normal(seed, &[order, order]) * 0.4 + one).transpose(0, 1)
}

/// One matrix and three updates, or as many as `t` has.
fn matrices(t: &[Tensor]) -> Vec<(Matrix<'_>, f64)> {
    match t {
        [full] => vec![(Matrix::Full(full), -6.0)],
        _ => {
            let pairs = t.chunks_exact(2).zip([3.0, -2.0, 5.0]);
            pairs
                .map(|(pair, copies)| (Matrix::Update(&pair[0], &pair[1]), copies))
                .collect()
        }
    }
}

/// All of them, sizes unequal and odd.
pub fn small_operators() -> Vec<SmallOperator> {
    let mut calls = Vec::new();
    for (size, factor) in [
        ([3, 4, 3, 2], [2, 2, 2, 6]),
        ([5, 4, 5, 10], [1, 2, 2, 100]),
    ] {
        let x = normal(1, &size).transpose(2, 3);
        calls.push(call(
            format!("butterfly {factor:?}"),
            vec![x, normal(2, &factor)],
            |t| butterfly(&t[0], &t[1]).map(two),
            |t| butterfly::reference::butterfly(&t[0], &t[1]).map(two),
        ));
    }
    for order in [1, 5, 24] {
        calls.push(call(
            format!("log-det of order {order}"),
            vec![turned(order, 3)],
            |t| Ok(vec![log_det(&matrices(t), 7)?]),
            |t| Ok(vec![log_det::reference::log_det(&matrices(t), 7)?]),
        ));
    }
    let update = |seed, length, rank| {
        let u = normal(seed, &[rank, length]).transpose(0, 1) * 0.3;
        [u, normal(seed + 1, &[rank, length]) * 0.3]
    };
    calls.push(call(
        "log-det of updates",
        [update(4, 7, 3), update(6, 2, 5), update(8, 11, 1)]
            .into_iter()
            .flatten()
            .collect(),
        |t| Ok(vec![log_det(&matrices(t), 200)?]),
        |t| Ok(vec![log_det::reference::log_det(&matrices(t), 200)?]),
    ));
    for by in [[1, 1, 2, -1], [-1, 2, 1, 1], [0, -3, -2, 4], [3, -1, 0, 0]] {
        calls.push(call(
            format!("pad {by:?}"),
            vec![normal(10, &[2, 3, 7, 5]).transpose(2, 3)],
            move |t| Ok(vec![pad(&t[0], by)?]),
            move |t| Ok(vec![pad::reference::pad(&t[0], by)?]),
        ));
    }
    let filters: [&[i64]; 3] = [&[5, 3, 2, 3], &[7, 5, 1, 1], &[2, 150]];
    for count in 1..=3 {
        let mut arguments = Vec::new();
        for (seed, size) in (0..).zip(&filters[..count]) {
            let mut gain = vec![1; size.len()];
            gain[0] = size[0];
            let mut turned = size.to_vec();
            turned.swap(0, 1);
            arguments.push(normal(11 + seed, &turned).transpose(0, 1));
            arguments.push(normal(15 + seed, &gain));
        }
        let pairs = |t: &[Tensor]| -> Vec<(Tensor, Tensor)> {
            let of = |pair: &[Tensor]| (pair[0].shallow_clone(), pair[1].shallow_clone());
            t.chunks_exact(2).map(of).collect()
        };
        let apply = move |t: &[Tensor], f: OfPairs| {
            f(&pairs(t).iter().map(|(d, g)| (d, g)).collect::<Vec<_>>())
        };
        calls.push(call(
            format!("weight norm of {count}"),
            arguments,
            move |t| apply(t, weight_norm),
            move |t| apply(t, weight_norm::reference::weight_norm),
        ));
    }
    for (colours, multiplicity, triangle) in [
        (3, 4, Triangle::Lower),
        (2, 5, Triangle::Upper),
        (1, 3, Triangle::Lower),
    ] {
        calls.push(call(
            format!("ELU of {colours} colours"),
            vec![normal(20, &[2, colours * multiplicity, 5, 3]).transpose(2, 3)],
            move |t| elu_with_slope(&t[0], colours).map(two),
            move |t| masked_residual::reference::elu_with_slope(&t[0], colours).map(two),
        ));
        let n = colours * multiplicity;
        let sizes = [[n, colours, 3, 3], [n, n, 3, 3], [colours, n, 3, 3]];
        let mut arguments: Vec<Tensor> = (21..)
            .zip(sizes)
            .map(|(seed, size)| normal(seed, &size).transpose(2, 3))
            .collect();
        arguments.push(normal(25, &[1, colours, 4, 3]));
        let apply =
            move |t: &[Tensor],
                  f: fn(&ResidualWeights<'_>, Triangle) -> Result<ResidualFilters>| {
                let weights = ResidualWeights {
                    filters: [&t[0], &t[1], &t[2]],
                    t: &t[3],
                };
                f(&weights, triangle).map(all)
            };
        calls.push(call(
            format!("filters of {colours} colours, {triangle:?}"),
            arguments,
            move |t| apply(t, residual_filters),
            move |t| apply(t, masked_residual::reference::residual_filters),
        ));
    }
    calls
}
