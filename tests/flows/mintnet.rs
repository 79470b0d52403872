//! Masked residual blocks: the triangle, the diagonal, and an inverse that admits when it fails.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::Error;
use tch::{nn, Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

const BOTH: [Triangle; 2] = [Triangle::Lower, Triangle::Upper];

fn block(
    chw: [i64; 3],
    latent: i64,
    triangle: Triangle,
    solver: FixedPoint,
    kind: Kind,
) -> (nn::VarStore, MaskedResidual) {
    let vs = store(kind);
    let block = seeded(|| MaskedResidual::new(&vs.root(), chw, latent, triangle, solver)).unwrap();
    (vs, block)
}

#[test]
fn the_jacobian_is_triangular_with_a_positive_diagonal() {
    let chw = [3, 3, 4];
    for triangle in BOTH {
        let (vs, block) = block(chw, 4, triangle, FixedPoint::default(), Kind::Double);
        shake(&vs, 7, 0.3);
        let jacobian = jacobian(&normal(1, &[1, 3, 3, 4]), |x| {
            block.forward(x, cx()).unwrap().value
        });
        let (forbidden, filled) = match triangle {
            Triangle::Lower => (jacobian.triu(1), jacobian.tril(-1)),
            Triangle::Upper => (jacobian.tril(-1), jacobian.triu(1)),
        };
        assert_eq!(forbidden.abs().max().double_value(&[]), 0.0, "{triangle:?}");
        assert!(filled.abs().max().double_value(&[]) > 1e-3);
        assert!(jacobian.diag(0).min().double_value(&[]) > 0.0);
    }
}

/// `f(x)` and its log-det by the equations as they stand, one hidden channel after the other.
fn literal(vs: &nn::VarStore, latent: i64, triangle: Triangle, x: &Tensor) -> (Tensor, Tensor) {
    let v = vs.variables();
    let c = x.size()[1];
    let masked = |name: &str| {
        let weight = v[name].detach().copy();
        let size = weight.size();
        for (o, i) in (0..size[0]).flat_map(|o| (0..size[1]).map(move |i| (o, i))) {
            for (row, column) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                let (output, input, tap) = (o % c, i % c, 3 * row + column);
                let seen = match triangle {
                    Triangle::Lower => input < output || (input == output && tap <= 4),
                    Triangle::Upper => input > output || (input == output && tap >= 4),
                };
                if !seen {
                    let _ = weight.get(o).get(i).get(row).get(column).fill_(0.0);
                }
            }
        }
        weight
    };
    let (w1, w2, w3) = (masked("weight1"), masked("weight2"), masked("weight3"));
    for i in 0..c {
        for (a, b) in (0..latent).flat_map(|a| (0..latent).map(move |b| (a, b))) {
            let tap = w2.get(a * c + i).get(b * c + i).get(1).get(1);
            let first = w1.double_value(&[b * c + i, i, 1, 1]);
            let last = w3.double_value(&[i, a * c + i, 1, 1]);
            let value = tap.double_value(&[]).abs() * first.signum() * last.signum();
            let _ = tap.shallow_clone().fill_(value);
        }
    }
    let conv = |x: &Tensor, w: &Tensor, b: &str| x.conv2d(w, Some(&v[b]), [1], [1], [1], 1);
    let h1 = conv(x, &w1, "bias1");
    let h2 = conv(&h1.elu(), &w2, "bias2");
    let slope = v["t"].abs().clamp_min(1e-12);
    let value = conv(&h2.elu(), &w3, "bias3") + &slope * x;
    let derivative = |h: &Tensor| h.clamp_max(0.0).exp();
    let (d1, d2) = (derivative(&h1), derivative(&h2));
    let mut log_det = Tensor::zeros([x.size()[0]], (Kind::Double, device()));
    for i in 0..c {
        let mut diagonal = slope.select(1, i) + x.select(1, i).zeros_like();
        for (a, b) in (0..latent).flat_map(|a| (0..latent).map(move |b| (a, b))) {
            let paths = w3.double_value(&[i, a * c + i, 1, 1])
                * w2.double_value(&[a * c + i, b * c + i, 1, 1])
                * w1.double_value(&[b * c + i, i, 1, 1]);
            diagonal += d2.select(1, a * c + i) * d1.select(1, b * c + i) * paths;
        }
        log_det += diagonal
            .log()
            .sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double);
    }
    (value, log_det)
}

#[test]
fn a_pass_is_what_the_equations_say_channel_by_channel() {
    for triangle in BOTH {
        let (vs, block) = block([2, 4, 3], 3, triangle, FixedPoint::default(), Kind::Double);
        shake(&vs, 7, 0.4);
        let x = normal(1, &[3, 2, 4, 3]);
        let got = block.forward(&x, cx()).unwrap();
        let (value, log_det) = literal(&vs, 3, triangle, &x);
        assert_close("value", &got.value, &value, 1e-12);
        assert_close("log-det", &got.log_det, &log_det, 1e-11);
    }
}

/// Solves coordinate by coordinate, in the order of the triangle, by halving an interval: every coordinate is an
/// increasing function of its own value once the earlier ones are known. Slow, and correct without any assumption on
/// convergence.
fn bisect(block: &MaskedResidual, triangle: Triangle, z: &Tensor) -> Tensor {
    let size = z.size();
    let dims: i64 = size[1..].iter().product();
    let order: Vec<i64> = match triangle {
        Triangle::Lower => (0..dims).collect(),
        Triangle::Upper => (0..dims).rev().collect(),
    };
    let target = z.view([size[0], dims]);
    let x = target.zeros_like();
    for coordinate in order {
        let (mut low, mut high) = (x.select(1, coordinate) - 1e3, x.select(1, coordinate) + 1e3);
        for _ in 0..80 {
            let middle = (&low + &high) * 0.5;
            x.select(1, coordinate).copy_(&middle);
            let value = block.forward(&x.view(size.as_slice()), cx()).unwrap().value;
            let above = value
                .view([size[0], dims])
                .select(1, coordinate)
                .gt_tensor(&target.select(1, coordinate));
            high = middle.where_self(&above, &high);
            low = low.where_self(&above, &middle);
        }
    }
    x.view(size.as_slice())
}

#[test]
fn the_fixed_point_is_the_solution_that_bisection_finds() {
    for triangle in BOTH {
        for damping in [1.0, 1.1, 3.5] {
            let solver = FixedPoint {
                damping,
                iterations: 300,
                ..FixedPoint::default()
            };
            let (vs, block) = block([2, 3, 3], 3, triangle, solver, Kind::Double);
            shake(&vs, 7, 0.1);
            let z = normal(1, &[2, 2, 3, 3]);
            let (got, exact) = tch::no_grad(|| {
                (
                    block.inverse(&z, cx()).unwrap().value,
                    bisect(&block, triangle, &z),
                )
            });
            assert_close(&format!("{triangle:?} {damping}"), &got, &exact, 1e-8);
        }
    }
}

#[test]
fn prior_samples_come_back_after_two_blocks_in_float32() {
    let x = normal(3, &[4, 3, 8, 8]).to_kind(Kind::Float);
    for triangle in BOTH {
        let (vs, block) = block([3, 8, 8], 8, triangle, FixedPoint::default(), Kind::Float);
        shake(&vs, 7, 0.05);
        tch::no_grad(|| assert_bijective("float32", &block, &x, 1e-3));
    }
}

#[test]
fn an_inverse_that_does_not_converge_says_so() {
    let few = FixedPoint {
        iterations: 2,
        ..FixedPoint::default()
    };
    for triangle in BOTH {
        let (vs, block) = block([2, 4, 4], 4, triangle, few, Kind::Double);
        shake(&vs, 7, 0.3);
        let z = normal(1, &[2, 2, 4, 4]);
        let err = tch::no_grad(|| block.inverse(&z, cx())).unwrap_err();
        assert!(
            matches!(
                err,
                Error::NotConverged {
                    layer: "masked_residual",
                    ..
                }
            ),
            "{err}"
        );
        assert!(err.to_string().contains("after 2 iterations"), "{err}");
        // not a number is not converged either
        let err = tch::no_grad(|| block.inverse(&(z * f64::NAN), cx())).unwrap_err();
        assert!(matches!(err, Error::NotConverged { .. }), "{err}");
    }
}

#[test]
fn a_block_starts_near_the_identity() {
    for triangle in BOTH {
        let (_vs, block) = block(
            [3, 16, 16],
            8,
            triangle,
            FixedPoint::default(),
            Kind::Double,
        );
        let x = normal(1, &[2, 3, 16, 16]);
        let moved = max_diff(&block.forward(&x, cx()).unwrap().value, &x);
        assert!(moved > 0.0 && moved < 0.1, "{moved}");
    }
}

#[test]
fn impossible_blocks_are_configuration_errors() {
    let vs = store(Kind::Double);
    let usual = FixedPoint::default();
    for (chw, latent, solver, part) in [
        ([3, 4, 4], 0, usual, "latent multiplicity"),
        ([3, 0, 4], 1, usual, "needs an image"),
        (
            [3, 4, 4],
            1,
            FixedPoint {
                damping: 0.5,
                ..usual
            },
            "`damping` above 0.5",
        ),
        (
            [3, 4, 4],
            1,
            FixedPoint {
                tolerance: f64::NAN,
                ..usual
            },
            "positive `tolerance`",
        ),
    ] {
        let err = MaskedResidual::new(&vs.root(), chw, latent, Triangle::Lower, solver)
            .unwrap_err()
            .to_string();
        assert!(err.contains(part), "{err}");
    }
    assert!(vs.is_empty());
}
