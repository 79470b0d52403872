//! Effective filters against their twin in plain tensor operations, and against central differences.

use crate::common::*;
use inverse_flow::ops::filter::{effective_filters, reference, EffectiveFilter, RawFilter};
use inverse_flow::ops::Corner;
use tch::{Kind, Tensor};

/// A layer's tensors: theta, mask, identity, places.
struct Layer {
    tensors: [Tensor; 4],
    learnable: bool,
    bound: Option<f64>,
}

impl Layer {
    /// `[C, k]` with a corner a group.
    fn new(
        seed: u64,
        [channels, kernel]: [i64; 2],
        corners: &[Corner],
        (learnable, bound): (bool, Option<f64>),
        kind: Kind,
    ) -> Self {
        let group = channels / corners.len() as i64;
        let theta = normal(seed, &[channels, group, kernel, kernel]).to_kind(kind) * 0.3;
        let (mask, identity) = (theta.ones_like(), theta.zeros_like());
        let mut places = Vec::new();
        for (index, corner) in (0..).zip(corners) {
            let (row, column) = corner.anchor_index(kernel);
            for channel in 0..group {
                let entry = |of: &Tensor, input| {
                    of.get(index * group + channel)
                        .get(input)
                        .get(row)
                        .get(column)
                };
                for input in channel..group {
                    let _ = entry(&mask, input).fill_(0.0);
                }
                let _ = entry(&identity, channel).fill_(1.0);
                places.push(((channel * kernel + row) * kernel + column) as i32);
            }
        }
        let places = Tensor::from_slice(&places).to_device(theta.device());
        Self {
            tensors: [theta.set_requires_grad(true), mask, identity, places],
            learnable,
            bound,
        }
    }

    fn raw(&self) -> RawFilter<'_> {
        let [theta, mask, identity, diagonal] = &self.tensors;
        RawFilter {
            theta,
            mask,
            identity,
            diagonal,
            learnable: self.learnable,
            bound: self.bound,
        }
    }
}

/// Layers of every kind, in one call.
fn layers(kind: Kind) -> Vec<Layer> {
    let all = Corner::ALL;
    vec![
        Layer::new(1, [5, 3], &all[..1], (false, None), kind),
        Layer::new(2, [8, 2], &all, (true, None), kind),
        Layer::new(3, [6, 3], &all[1..3], (false, Some(0.9)), kind),
        Layer::new(4, [4, 5], &all[3..], (true, Some(0.5)), kind),
        Layer::new(5, [1, 1], &all[2..3], (true, Some(0.5)), kind),
    ]
}

type Operator = fn(&[RawFilter<'_>]) -> inverse_flow::Result<Vec<EffectiveFilter>>;

fn by_the_twin(raw: &[RawFilter<'_>]) -> inverse_flow::Result<Vec<EffectiveFilter>> {
    raw.iter().map(reference::effective_filter).collect()
}

fn outputs(operator: Operator, layers: &[Layer]) -> Vec<Tensor> {
    let raw: Vec<_> = layers.iter().map(Layer::raw).collect();
    let made = operator(&raw).unwrap().into_iter();
    made.flat_map(|made| std::iter::once(made.weight).chain(made.log_diagonal))
        .collect()
}

/// Depends on all outputs but the first and the third: their gradients are undefined.
fn loss(operator: Operator, layers: &[Layer]) -> Tensor {
    let outputs = outputs(operator, layers);
    let kind = outputs[0].kind();
    let weighed = outputs.iter().enumerate().filter(|(i, _)| i % 3 != 2);
    weighed
        .map(|(i, t)| (t.square() * normal(20 + i as u64, &t.size()).to_kind(kind)).sum(kind))
        .sum()
}

fn thetas(layers: &[Layer]) -> Vec<Tensor> {
    let thetas = layers.iter().map(|layer| layer.tensors[0].shallow_clone());
    thetas.collect()
}

#[test]
fn filters_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
        let layers = layers(kind);
        let [got, expected] = [effective_filters as Operator, by_the_twin].map(|operator| {
            let mut all = outputs(operator, &layers);
            let loss = loss(operator, &layers);
            all.extend(Tensor::run_backward(
                &[loss],
                &thetas(&layers),
                false,
                false,
            ));
            all
        });
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            assert_close("filter or gradient", got, expected, tolerance);
        }
    }
}

#[test]
fn gradients_are_central_differences_and_second_derivatives_those_of_the_twin() {
    let layers = layers(Kind::Double);
    let named = (0..).zip(thetas(&layers));
    let named: Vec<_> = named.map(|(i, t)| (format!("theta {i}"), t)).collect();
    assert_gradients(&named, 1e-6, || loss(effective_filters, &layers));
    let second = |operator: Operator| {
        let thetas = thetas(&layers);
        let first = Tensor::run_backward(&[loss(operator, &layers)], &thetas, true, true);
        let norm: Tensor = first.iter().map(|g| g.square().sum(Kind::Double)).sum();
        Tensor::run_backward(&[norm], &thetas, false, false)
    };
    for (got, expected) in second(effective_filters).iter().zip(&second(by_the_twin)) {
        assert_close("second derivative", got, expected, 1e-9);
    }
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let layer = Layer::new(1, [3, 2], &Corner::ALL[..1], (false, None), Kind::Double);
    let [theta, mask, _, _] = &layer.tensors;
    let text = |raw: RawFilter<'_>| effective_filters(&[raw]).unwrap_err().to_string();
    for (raw, part) in [
        (
            RawFilter {
                theta: &theta.to_kind(Kind::Int),
                ..layer.raw()
            },
            "`theta` must be float32 or float64",
        ),
        (
            RawFilter {
                theta: &theta.narrow(3, 0, 1),
                ..layer.raw()
            },
            "`theta` must be [C, n, k, k]",
        ),
        (
            RawFilter {
                mask: &mask.narrow(0, 0, 2),
                ..layer.raw()
            },
            "`mask` must be like `theta`",
        ),
        (
            RawFilter {
                diagonal: mask,
                ..layer.raw()
            },
            "`diagonal` must be int32",
        ),
    ] {
        let text = text(raw);
        assert!(text.contains(part), "{text}");
    }
    assert!(effective_filters(&[]).unwrap().is_empty());
}
