//! The plain-tensor twin against the dense matrix of the definition, and its autograd gradients against the formulas
//! that the fast operators use.

use crate::device::device;
use crate::random::normal;
use inverse_flow::ops::reference::{conv, dense_matrix, solve, weight_grad};
use inverse_flow::ops::{Corner, Geometry};
use tch::{Kind, Tensor};

struct Case {
    geometry: Geometry,
    corners: Vec<Corner>,
    weight: Tensor,
    x: Tensor,
    u: Tensor,
}

/// Odd and unequal sizes: H or W of 1, filters larger than the image, one channel per group, all corners.
fn cases() -> Vec<Case> {
    let sizes = [
        // B, C, g, H, W, k
        (3, 8, 4, 5, 3, 3),
        (2, 6, 2, 4, 5, 2),
        (1, 5, 1, 3, 4, 5),
        (2, 4, 4, 1, 7, 3),
        (2, 3, 1, 6, 1, 2),
        (3, 4, 2, 3, 2, 1),
        (2, 2, 1, 2, 3, 7),
    ];
    let mut cases = Vec::new();
    for (index, (b, c, g, h, w, k)) in sizes.into_iter().enumerate() {
        for first in 0..4 {
            let corners: Vec<_> = (0..g).map(|i| Corner::ALL[(first + i) % 4]).collect();
            cases.push(case(&corners, [b, c, h, w], k, 100 * index + first));
        }
    }
    cases
}

fn case(corners: &[Corner], image: [i64; 4], k: i64, seed: usize) -> Case {
    let mut seeds = 100 * seed as u64..;
    let mut randn = |size: &[i64]| normal(seeds.next().unwrap(), size);
    let x = randn(&image);
    let n = image[1] / corners.len() as i64;
    let weight = randn(&[image[1], n, k, k]) * 0.3;
    let geometry = Geometry::check("test", &x, &weight, corners).unwrap();
    for (group, corner) in (0..).zip(corners) {
        let (row, column) = corner.anchor_index(k);
        let anchor = weight
            .narrow(0, group * n, n)
            .select(3, column)
            .select(2, row);
        // diagonals of both signs, away from zero, and no value above them that may matter
        let signs = randn(&[n]).sign();
        let mut diagonal = anchor.diagonal(0, 0, 1);
        let shifted = (diagonal.abs() + 0.7) * signs;
        diagonal.copy_(&shifted);
        if n > 1 {
            let _ = anchor.get(0).narrow(0, 1, n - 1).fill_(f64::INFINITY);
        }
    }
    Case {
        geometry,
        corners: corners.to_vec(),
        u: randn(&image),
        weight,
        x,
    }
}

fn max_abs(x: &Tensor) -> f64 {
    if x.numel() == 0 {
        return 0.0;
    }
    x.abs().max().double_value(&[])
}

fn assert_close(got: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(got.size(), expected.size(), "{what}");
    let error = max_abs(&(got - expected)) / max_abs(expected).max(1.0);
    assert!(error < tolerance, "{what}: relative error {error:e}");
}

/// Rows of flattened images as the columns of a matrix.
fn columns(x: &Tensor) -> Tensor {
    x.flatten(1, 3).tr()
}

/// The dense matrix, where the tests' tensors are.
fn dense(weight: &Tensor, corners: &[Corner], geometry: &Geometry) -> Tensor {
    let matrix = dense_matrix(weight, corners, geometry.height, geometry.width).unwrap();
    matrix.to_device(device())
}

#[test]
fn conv_and_solve_agree_with_the_dense_matrix() {
    for Case {
        geometry,
        corners,
        weight,
        x,
        ..
    } in cases()
    {
        let what = format!("{geometry:?} {corners:?}");
        let a = dense(&weight, &corners, &geometry);
        for adjoint in [false, true] {
            let a = if adjoint { a.tr() } else { a.shallow_clone() };
            let y = conv(&x, &weight, &corners, adjoint).unwrap();
            assert_close(&columns(&y), &a.matmul(&columns(&x)), 1e-12, &what);
            let back = solve(&y, &weight, &corners, adjoint).unwrap();
            assert_close(&back, &x, 1e-9, &what);
            let solved = solve(&x, &weight, &corners, adjoint).unwrap();
            let expected = Tensor::linalg_solve(&a, &columns(&x), true);
            assert_close(&columns(&solved), &expected, 1e-10, &what);
        }
    }
}

#[test]
fn log_det_of_the_dense_matrix_is_the_sum_of_the_log_diagonals() {
    for Case {
        geometry,
        corners,
        weight,
        ..
    } in cases()
    {
        let a = dense(&weight, &corners, &geometry);
        let (_, log_det) = Tensor::linalg_slogdet(&a);
        let n = geometry.group_channels();
        let mut expected = 0.0;
        for (group, corner) in (0..).zip(&corners) {
            let (row, column) = corner.anchor_index(geometry.kernel);
            for c in 0..n {
                let d = weight.double_value(&[group * n + c, c, row, column]);
                expected += (geometry.height * geometry.width) as f64 * d.abs().ln();
            }
        }
        let got = log_det.double_value(&[]);
        assert!(
            (got - expected).abs() < 1e-9,
            "{geometry:?} {corners:?}: {got} {expected}"
        );
    }
}

/// Gradients of `<u, f(x, W)>` with respect to x and W, by autograd.
fn autograd(
    f: impl Fn(&Tensor, &Tensor) -> Tensor,
    x: &Tensor,
    weight: &Tensor,
    u: &Tensor,
) -> (Tensor, Tensor) {
    let x = x.detach().set_requires_grad(true);
    let weight = weight.detach().set_requires_grad(true);
    let loss = (f(&x, &weight) * u).sum(Kind::Double);
    let mut grads = Tensor::run_backward(&[loss], &[x, weight], false, false).into_iter();
    (grads.next().unwrap(), grads.next().unwrap())
}

#[test]
fn autograd_gives_the_gradient_formulas() {
    for Case {
        geometry,
        corners,
        weight,
        x,
        u,
    } in cases()
    {
        let what = format!("{geometry:?} {corners:?}");
        let k = geometry.kernel;
        for adjoint in [false, true] {
            let run = |x: &Tensor, w: &Tensor| conv(x, w, &corners, adjoint).unwrap();
            let (dx, dw) = autograd(run, &x, &weight, &u);
            assert_close(
                &dx,
                &conv(&u, &weight, &corners, !adjoint).unwrap(),
                1e-12,
                &what,
            );
            let (first, second) = if adjoint { (&u, &x) } else { (&x, &u) };
            assert_close(
                &dw,
                &weight_grad(first, second, k, &corners).unwrap(),
                1e-12,
                &what,
            );

            let run = |x: &Tensor, w: &Tensor| solve(x, w, &corners, adjoint).unwrap();
            let (dy, dw) = autograd(run, &x, &weight, &u);
            let v = solve(&u, &weight, &corners, !adjoint).unwrap();
            assert_close(&dy, &v, 1e-10, &what);
            let solved = run(&x, &weight);
            let (first, second) = if adjoint {
                (&v, &solved)
            } else {
                (&solved, &v)
            };
            assert_close(
                &dw,
                &-weight_grad(first, second, k, &corners).unwrap(),
                1e-9,
                &what,
            );
        }
    }
}

#[test]
fn weight_grad_is_the_derivative_of_the_dense_matrix_and_zero_above_the_diagonal() {
    for Case {
        geometry,
        corners,
        weight,
        x,
        u,
    } in cases()
    {
        let grad = weight_grad(&x, &u, geometry.kernel, &corners).unwrap();
        // <u, A(E) x> for any direction E, because A is linear in the weight
        let direction = normal(7, &weight.size());
        let a = dense(&direction, &corners, &geometry);
        let expected = (columns(&u) * a.matmul(&columns(&x))).sum(Kind::Double);
        let mask = geometry
            .anchor_mask(&corners, Kind::Double, device())
            .unwrap();
        let got = (&grad * &direction).sum(Kind::Double);
        assert_close(&got, &expected, 1e-11, &format!("{geometry:?} {corners:?}"));
        assert_eq!(max_abs(&(grad * (1 - mask))), 0.0);
    }
}

#[test]
fn empty_batches_and_empty_planes_give_empty_results() {
    for image in [[0, 4, 5, 3], [2, 4, 0, 3], [2, 4, 5, 0]] {
        let corners = [Corner::BottomLeft, Corner::TopRight];
        let case = case(&corners, image, 3, 0);
        for adjoint in [false, true] {
            let x = solve(&case.x, &case.weight, &corners, adjoint).unwrap();
            let y = conv(&case.x, &case.weight, &corners, adjoint).unwrap();
            assert_eq!((x.size(), y.size()), (image.to_vec(), image.to_vec()));
        }
        let grad = weight_grad(&case.x, &case.u, 3, &corners).unwrap();
        assert_eq!(grad.size(), [4, 2, 3, 3]);
        assert_eq!(max_abs(&grad), 0.0);
    }
}
