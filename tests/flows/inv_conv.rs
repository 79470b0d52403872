//! The inverse convolution under training, and where it is hard.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::ops::Corner;
use tch::nn::OptimizerConfig;
use tch::{nn, Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

#[test]
fn fifty_adam_steps_with_weight_decay_leave_the_constraint_exact() {
    for corners in [vec![Corner::TopLeft], Corner::ALL.to_vec()] {
        let vs = store(Kind::Double);
        let config = InvConvConfig {
            corners: corners.clone(),
            ..InvConvConfig::new(8, 3)
        };
        let layer = InvConv::new(&vs.root(), &config).unwrap();
        randomize(&vs, 4, 0.3);
        let start = layer.weight().unwrap().detach();
        let mut adam = nn::Adam {
            wd: 0.1,
            ..Default::default()
        }
        .build(&vs, 1e-2)
        .unwrap();
        let x = normal(5, &[3, 8, 3, 4]);
        for _ in 0..50 {
            let z = layer.forward(&x, cx()).unwrap().value;
            adam.backward_step(&(z.square().sum(Kind::Double)));
        }
        let weight = layer.weight().unwrap().detach();
        assert!(
            max_diff(&weight, &start) > 0.1,
            "the optimiser did not move the layer"
        );
        let group = 8 / corners.len() as i64;
        for (index, corner) in (0..).zip(&corners) {
            let (row, column) = corner.anchor_index(3);
            let anchor = weight
                .narrow(0, index * group, group)
                .select(3, column)
                .select(2, row);
            let expected = anchor.tril(-1) + Tensor::eye(group, (Kind::Double, device()));
            assert!(anchor.equal(&expected), "{corner}: {anchor:?}");
            assert!(group == 1 || anchor.tril(-1).abs().max().double_value(&[]) > 1e-4);
        }
        assert_log_det("after Adam", &layer, &x, 1e-9);
        assert_bijective("after Adam", &layer, &x, 1e-9);
    }
}

#[test]
fn the_layer_computes_what_dense_matrices_say_and_the_python_layer_too() {
    // tests/fixtures/inv_conv.py made the file; tests/python/test_package.py reads it as well
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/inv_conv.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let corners = case["corners"].as_array().unwrap().iter();
        let config = InvConvConfig {
            corners: corners
                .map(|name| name.as_str().unwrap().parse().unwrap())
                .collect(),
            diagonal: match case["diagonal"].as_str().unwrap() {
                "unit" => Diagonal::Unit,
                _ => Diagonal::Learnable,
            },
            bound: case["bound"].as_f64(),
            ..InvConvConfig::new(
                case["channels"].as_i64().unwrap(),
                case["kernel"].as_i64().unwrap(),
            )
        };
        let vs = store(Kind::Double);
        let layer = InvConv::new(&vs.root(), &config).unwrap();
        let mut theta = vs.variables().remove("weight").unwrap();
        tch::no_grad(|| theta.copy_(&numbers(&case["weight"])));
        let mapped = layer.forward(&numbers(&case["x"]), cx()).unwrap();
        assert!(
            max_diff(&mapped.value, &numbers(&case["z"])) < 1e-12,
            "{config:?}"
        );
        assert!(
            max_diff(&mapped.log_det, &numbers(&case["log_det"])) < 1e-12,
            "{config:?}"
        );
    }
}

/// A tensor written as nested lists.
fn numbers(value: &serde_json::Value) -> Tensor {
    match value.as_array() {
        Some(items) => Tensor::stack(&items.iter().map(numbers).collect::<Vec<_>>(), 0),
        None => Tensor::from(value.as_f64().unwrap()).to_device(device()),
    }
}

#[test]
fn a_learnable_diagonal_cannot_cross_zero() {
    let vs = store(Kind::Double);
    let config = InvConvConfig {
        diagonal: Diagonal::Learnable,
        ..InvConvConfig::new(3, 2)
    };
    let layer = InvConv::new(&vs.root(), &config).unwrap();
    randomize(&vs, 1, 0.3);
    let mut theta = vs.trainable_variables().remove(0);
    // where a plain diagonal would be negative, and a large tap that must not reach the exponential
    tch::no_grad(|| {
        let _ = theta.select(3, 1).select(2, 1).get(0).get(0).fill_(-4.0);
        let _ = theta.select(3, 0).select(2, 0).get(0).get(0).fill_(1e3);
        let _ = theta.g_mul_scalar_(1.0);
    });
    let weight = layer.weight().unwrap();
    assert!(weight.isfinite().all().int64_value(&[]) == 1);
    assert!((weight.double_value(&[0, 0, 1, 1]) - (-4f64).exp()).abs() < 1e-15);
    let mapped = layer.forward(&normal(1, &[2, 3, 1, 1]), cx()).unwrap();
    let diagonal = weight
        .select(3, 1)
        .select(2, 1)
        .diagonal(0, 0, 1)
        .log()
        .sum(Kind::Double);
    assert_close(
        "log-det",
        &mapped.log_det,
        &(-diagonal).expand([2], false),
        1e-12,
    );
}

#[test]
fn large_learned_taps_round_trip_within_the_conditioning_of_the_solve() {
    // taps this large make the recursion explode: float64 must still invert, and float32 lose no more than the
    // growth of the solution explains
    for std in [0.3, 0.5] {
        let error = |kind: Kind, eps: f64| {
            let vs = store(kind);
            let layer = InvConv::new(&vs.root(), &InvConvConfig::new(4, 3)).unwrap();
            randomize(&vs, 6, std);
            let x = normal(7, &[3, 4, 14, 11]).to_kind(kind);
            let z = layer.forward(&x, cx()).unwrap().value;
            let back = layer.inverse(&z, cx()).unwrap().value;
            let growth = z.abs().max().double_value(&[]);
            assert!(growth.is_finite());
            let error = max_diff(&back.to_kind(Kind::Double), &x.to_kind(Kind::Double));
            assert!(
                error <= 100.0 * eps * (1.0 + growth),
                "std {std} {kind:?}: error {error:e} with a latent of {growth:e}"
            );
            growth
        };
        let growth = error(Kind::Double, f64::EPSILON);
        error(Kind::Float, f64::from(f32::EPSILON));
        assert!(growth > 10.0, "std {std} is not a hard case: {growth}");
    }
}

/// A bounded layer from two corners, and one without a bound over the same theta of deviation `std`.
fn bounded_and_not(bound: f64, diagonal: Diagonal, std: f64) -> [(nn::VarStore, InvConv); 2] {
    [Some(bound), None].map(|bound| {
        let vs = store(Kind::Double);
        let config = InvConvConfig {
            corners: vec![Corner::TopRight, Corner::BottomLeft],
            diagonal,
            bound,
            ..InvConvConfig::new(6, 3)
        };
        let layer = InvConv::new(&vs.root(), &config).unwrap();
        randomize(&vs, 11, std);
        if diagonal == Diagonal::Learnable {
            // a diagonal like a trained one; the taps stay as large as they are
            let mut theta = vs.trainable_variables().remove(0);
            let keep = layer.weight().unwrap().zeros_like();
            let small = normal(12, &theta.size()) * 0.5;
            for (group, corner) in (0..).zip(&config.corners) {
                let (row, column) = corner.anchor_index(3);
                let mut anchor = keep
                    .narrow(0, group * 3, 3)
                    .select(3, column)
                    .select(2, row);
                anchor.copy_(&Tensor::eye(3, (Kind::Double, device())));
            }
            tch::no_grad(|| theta.copy_(&theta.where_self(&keep.eq(0.0), &small)));
        }
        (vs, layer)
    })
}

#[test]
fn a_bounded_recursion_stays_bounded_whatever_the_taps() {
    let size = [2, 6, 40, 33];
    let largest = |t: &Tensor| t.abs().max().double_value(&[]);
    let total = |t: &Tensor| t.abs().sum(Kind::Double).double_value(&[]);
    for (diagonal, bound) in [
        (Diagonal::Unit, 0.5),
        (Diagonal::Unit, 0.9),
        (Diagonal::Learnable, 0.9),
    ] {
        for std in [0.3, 10.0, 1e200] {
            let [(vs, layer), (_, free)] = bounded_and_not(bound, diagonal, std);
            let names: Vec<_> = named(&vs).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["weight"]);
            let weight = layer.weight().unwrap();
            let reported = -layer
                .forward(&normal(1, &[1, 6, 1, 1]), cx())
                .unwrap()
                .log_det;
            let reported = reported.double_value(&[0]);
            let diagonals =
                [(0, Corner::TopRight), (1, Corner::BottomLeft)].map(|(group, corner)| {
                    let (row, column) = corner.anchor_index(3);
                    let anchor = weight
                        .narrow(0, group * 3, 3)
                        .select(3, column)
                        .select(2, row);
                    anchor.diagonal(0, 0, 1)
                });
            let diagonals = Tensor::cat(&diagonals, 0);
            let log_det = diagonals.log().sum(Kind::Double).double_value(&[]);
            assert!(
                (log_det - reported).abs() < 1e-12,
                "the log-det is that of the diagonal"
            );
            // the sums of the other taps, near the bound where the taps are large and never above it
            let sums = weight
                .abs()
                .sum_dim_intlist(&[1_i64, 2, 3][..], false, None::<Kind>)
                - &diagonals;
            let parts = sums / &diagonals;
            let part = parts.max().double_value(&[]);
            assert!(part < bound * (1.0 + 1e-12), "std {std}: {part}");
            assert!(
                part > 0.9 * bound,
                "std {std}: {part} wastes the bound {bound}"
            );
            let limit = (1.0 + 1e-12) / ((1.0 - bound) * diagonals.min().double_value(&[]));

            // images of noise and of one value
            for x in [
                normal(2, &size),
                Tensor::ones(size, (Kind::Double, device())),
            ] {
                let x = x.set_requires_grad(true);
                let z = layer.forward(&x, cx()).unwrap().value;
                assert!(
                    largest(&z) <= limit * largest(&x),
                    "{diagonal:?}, std {std}"
                );
                let g = normal(3, &size);
                (&z * &g).sum(Kind::Double).backward();
                assert!(
                    total(&x.grad()) <= limit * total(&g),
                    "{diagonal:?}, std {std}"
                );
                assert!(
                    vs.trainable_variables()[0]
                        .grad()
                        .isfinite()
                        .all()
                        .int64_value(&[])
                        == 1
                );
                let back = layer.inverse(&z, cx()).unwrap().value;
                assert_close("round trip", &back, &x, 1e-12);
            }
            let z = free.forward(&normal(2, &size), cx()).unwrap().value;
            let growth = largest(&z);
            assert!(
                growth > 1e3 || !growth.is_finite(),
                "std {std} is not a hard case: {growth:e}"
            );
        }
    }
}

#[test]
fn the_bound_leaves_small_taps_as_they_are() {
    // up to second order: a relative difference of (sum / bound)^2 / 2
    let [(_, layer), (_, free)] = bounded_and_not(0.5, Diagonal::Unit, 1e-6);
    let (bounded, free) = (layer.weight().unwrap(), free.weight().unwrap());
    assert_close("the taps", &bounded, &free, 1e-6 * 1e-8);
    assert!(max_diff(&bounded, &free) > 0.0);
}

#[test]
fn impossible_convolutions_are_configuration_errors() {
    let vs = store(Kind::Double);
    let good = InvConvConfig::new(6, 3);
    for (config, part) in [
        (
            InvConvConfig {
                kernel: 0,
                ..good.clone()
            },
            "`kernel`",
        ),
        (
            InvConvConfig {
                corners: vec![],
                ..good.clone()
            },
            "0 corners for 6 channels",
        ),
        (
            InvConvConfig {
                corners: Corner::ALL.to_vec(),
                ..good.clone()
            },
            "4 corners for 6 channels",
        ),
        (
            InvConvConfig {
                init_std: f64::NAN,
                ..good.clone()
            },
            "`init_std`",
        ),
        (
            InvConvConfig {
                bound: Some(1.0),
                ..good.clone()
            },
            "`bound`",
        ),
        (
            InvConvConfig {
                channels: 0,
                ..good
            },
            "0 channels",
        ),
    ] {
        let err = InvConv::new(&vs.root(), &config).unwrap_err().to_string();
        assert!(err.contains(part), "{err}");
    }
    assert!(vs.is_empty());
}
