//! What MaCow's masked convolutions look at, how they start, and how they are inverted.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::Error;
use tch::{nn, Kind, Tensor};

fn cx() -> Cx<'static> {
    Cx::default()
}

/// A flow with random parameters.
fn flow(channels: i64, order: LineOrder, kernel: [i64; 2]) -> (nn::VarStore, MaskedConvFlow) {
    let vs = store(Kind::Double);
    let mut flow = MaskedConvFlow::new(&vs.root(), channels, order, kernel).unwrap();
    flow.initialize(&normal(9, &[3, channels, 4, 5]), cx())
        .unwrap();
    randomize(&vs, 3, 0.4);
    (vs, flow)
}

/// `[C, H, W, C, H, W]`: outputs by inputs.
fn jacobian_of(layer: &dyn Transform, [c, h, w]: [i64; 3]) -> Tensor {
    let x = normal(5, &[1, c, h, w]);
    jacobian(&x, |x| layer.forward(x, cx()).unwrap().value).view([c, h, w, c, h, w])
}

#[test]
fn a_pixel_looks_at_its_window_and_at_nothing_else() {
    let (c, h, w) = (2, 6, 7);
    for (order, rows, columns) in [
        (LineOrder::A, -2..=-1, -1..=1),
        (LineOrder::B, 1..=2, -1..=1),
        (LineOrder::C, -1..=1, -2..=-1),
        (LineOrder::D, -1..=1, 1..=2),
    ] {
        let (_vs, layer) = flow(c, order, [2, 3]);
        let jacobian = jacobian_of(&layer, [c, h, w]);
        for y in 0..h {
            for x in 0..w {
                for sy in 0..h {
                    for sx in 0..w {
                        let entries = jacobian
                            .select(5, sx)
                            .select(4, sy)
                            .select(2, x)
                            .select(1, y);
                        let (dy, dx) = (sy - y, sx - x);
                        if rows.contains(&dy) && columns.contains(&dx) {
                            let seen = entries.abs().min().double_value(&[]);
                            assert!(seen > 0.0, "{order:?} does not see {dy}, {dx}");
                        } else {
                            // a pixel's channels depend on themselves only
                            let rest = match (dy, dx) {
                                (0, 0) => &entries - Tensor::diag(&entries.diag(0), 0),
                                _ => entries,
                            };
                            let seen = rest.abs().max().double_value(&[]);
                            assert_eq!(seen, 0.0, "{order:?} sees {dy}, {dx}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_inverse_solves_line_by_line_what_a_dense_triangular_solve_solves() {
    // for the linear part: a flow whose log-scale does not depend on x is affine
    for order in LineOrder::ALL {
        let (vs, layer) = flow(2, order, [2, 3]);
        for (name, mut variable) in named(&vs) {
            if name == "project.gain" {
                let _ = tch::no_grad(|| variable.narrow(0, 2, 2).fill_(0.0));
            }
            // a large bias keeps elu in its linear half
            if name == "look.bias" {
                let _ = tch::no_grad(|| variable.fill_(50.0));
            }
        }
        let chw = [2, 4, 4];
        let matrix = jacobian_of(&layer, chw).view([32, 32]);
        let z = normal(1, &[1, 2, 4, 4]);
        let at_zero = layer.forward(&z.zeros_like(), cx()).unwrap().value;
        let expected = Tensor::linalg_solve(&matrix, &(&z - at_zero).view([32, 1]), true);
        let got = layer.inverse(&z, cx()).unwrap().value;
        assert_close(&format!("{order:?}"), &got.view([32, 1]), &expected, 1e-9);
    }
}

#[test]
fn prior_samples_come_back() {
    for order in LineOrder::ALL {
        for kernel in [[1, 1], [2, 3], [3, 5], [7, 3]] {
            let (_vs, layer) = flow(3, order, kernel);
            let z = normal(4, &[2, 3, 5, 6]);
            let x = layer.inverse(&z, cx()).unwrap();
            let back = layer.forward(&x.value, cx()).unwrap();
            assert_close(&format!("{order:?} {kernel:?}"), &back.value, &z, 1e-10);
            let sum = &back.log_det + &x.log_det;
            assert_close("log-dets", &sum, &sum.zeros_like(), 1e-9);
        }
    }
}

#[test]
fn a_flow_starts_as_a_multiplication_by_sigmoid_2() {
    let vs = store(Kind::Double);
    let mut layer = MaskedConvFlow::new(&vs.root(), 3, LineOrder::C, [2, 3]).unwrap();
    let x = normal(1, &[4, 3, 5, 6]);
    for map in [layer.forward(&x, cx()), layer.inverse(&x, cx())] {
        assert!(matches!(map.unwrap_err(), Error::NotInitialized { .. }));
    }
    layer.initialize(&x, cx()).unwrap();
    let mapped = layer.forward(&x, cx()).unwrap();
    let per_dim = &mapped.log_det / (3 * 5 * 6) as f64;
    let expected = per_dim.zeros_like() - 0.126_928_011_042_972_3;
    assert_close("log-det per dimension", &per_dim, &expected, 1e-12);
    assert_close(
        "value",
        &mapped.value,
        &(&x * 0.880_797_077_977_882_3),
        1e-12,
    );

    let before: Vec<_> = named(&vs).into_iter().map(|(_, v)| v.copy()).collect();
    layer.initialize(&(x * 3.0 + 1.0), cx()).unwrap();
    for ((name, after), before) in named(&vs).into_iter().zip(before) {
        assert!(after.equal(&before), "{name} moved");
    }
}

#[test]
fn hidden_channels_are_as_published() {
    for (channels, hidden) in [(3, 12), (96, 384), (97, 194), (300, 512)] {
        let vs = store(Kind::Float);
        let _layer = MaskedConvFlow::new(&vs.root(), channels, LineOrder::A, [2, 3]).unwrap();
        let size = vs.variables()["look.direction"].size();
        assert_eq!(size, [hidden, channels, 2, 3]);
    }
}

#[test]
fn very_negative_scales_keep_a_finite_log_det_in_float32() {
    let vs = store(Kind::Float);
    let mut layer = MaskedConvFlow::new(&vs.root(), 1, LineOrder::A, [2, 3]).unwrap();
    let x = normal(1, &[2, 1, 4, 4]).to_kind(Kind::Float);
    layer.initialize(&x, cx()).unwrap();
    let bias = vs.variables()["project.bias"].shallow_clone();
    let _ = tch::no_grad(|| bias.narrow(0, 1, 1).fill_(-150.0));
    let log_det = layer.forward(&x, cx()).unwrap().log_det;
    assert!((log_det.double_value(&[0]) + 16.0 * 148.0).abs() < 1e-2);
}

#[test]
fn impossible_windows_are_configuration_errors() {
    let vs = store(Kind::Double);
    for (channels, kernel, part) in [
        (0, [2, 3], "at least one channel"),
        (2, [0, 3], "depth of 1 or more"),
        (2, [2, 2], "odd breadth"),
    ] {
        let err = MaskedConvFlow::new(&vs.root(), channels, LineOrder::A, kernel)
            .unwrap_err()
            .to_string();
        assert!(err.contains(part), "{err}");
    }
    assert!(vs.is_empty());
}
