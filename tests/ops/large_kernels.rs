//! Filters that are large enough for sums by spectra: the same operator, within rounding, and never where it grows.

use crate::alone::alone;
use crate::cpu::cpu;
use crate::ops_cases::Case;
use inverse_flow::ops::{inv_conv2d, Corner};
use tch::{Kind, Tensor};

/// Widths of one segment and of several, the last one cut short; batches of one tile and of two.
fn cases() -> Vec<Case> {
    vec![
        Case::new([17, 13, 16, 16], 11, &[Corner::TopLeft]),
        Case::new([8, 10, 14, 41], 9, &[Corner::BottomRight]),
        Case::new([9, 24, 15, 16], 9, &[Corner::TopRight, Corner::BottomLeft]),
    ]
}

/// The solutions of three images at a time, which is never done by spectra (and is tested against the twin elsewhere).
fn direct(y: &Tensor, w: &Tensor, corners: &[Corner]) -> Tensor {
    let few = y.split(3, 0);
    let solved: Vec<_> = few
        .iter()
        .map(|y| inv_conv2d(y, w, corners).unwrap())
        .collect();
    Tensor::cat(&solved, 0)
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

#[test]
fn solutions_and_gradients_equal_those_of_direct_sums() {
    for case in cases() {
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 3e-6)] {
            let (y, w) = case.tensors(kind, 1);
            let (y, w) = (y.set_requires_grad(true), w.set_requires_grad(true));
            let x = inv_conv2d(&y, &w, &case.corners).unwrap();
            let got = Tensor::run_backward(&[x.square().sum(kind)], &[&y, &w], false, false);
            let (y, w) = case.tensors(Kind::Double, 1);
            let (y, w) = (y.set_requires_grad(true), w.set_requires_grad(true));
            let expected = direct(&y, &w, &case.corners);
            let loss = expected.square().sum(Kind::Double);
            let gradients = Tensor::run_backward(&[loss], &[&y, &w], false, false);
            for (what, got, expected) in [
                ("x", &x, &expected),
                ("dy", &got[0], &gradients[0]),
                ("dW", &got[1], &gradients[1]),
            ] {
                let error = largest(&(got.to_kind(Kind::Double) - expected));
                let scale = largest(expected);
                assert!(
                    error <= tolerance * scale,
                    "{what}, {kind:?}, {case:?}: {error:e} of {scale:e}"
                );
            }
        }
    }
}

#[test]
fn cpu_a_growing_recursion_is_solved_by_direct_sums() {
    if !cpu("cpu_a_growing_recursion_is_solved_by_direct_sums") {
        return;
    }
    for case in cases() {
        let (y, w) = case.tensors_with_taps(Kind::Float, 2, 0.4);
        let x = inv_conv2d(&y, &w, &case.corners).unwrap();
        assert!(largest(&x) > 1e3 * largest(&y), "{case:?}");
        assert_eq!(x, direct(&y, &w, &case.corners), "{case:?}");
        // where it is damped the last bits differ, so that equal ones say something
        let (y, w) = case.tensors(Kind::Float, 2);
        let x = inv_conv2d(&y, &w, &case.corners).unwrap();
        assert_ne!(x, direct(&y, &w, &case.corners), "{case:?}");
    }
}

#[test]
fn cpu_spectra_give_the_same_bits_for_any_number_of_threads() {
    alone(
        module_path!(),
        "cpu_spectra_give_the_same_bits_for_any_number_of_threads",
        with_any_number_of_threads,
    );
}

fn with_any_number_of_threads() {
    let case = &cases()[0];
    let (y, w) = case.tensors(Kind::Float, 4);
    let solve = |threads| {
        tch::set_num_threads(threads);
        inv_conv2d(&y, &w, &case.corners).unwrap()
    };
    let one = solve(1);
    for more in [2, 3, 16] {
        assert_eq!(one, solve(more), "{more} threads");
    }
}

#[test]
fn an_infinite_pixel_spoils_no_other_image() {
    let case = &cases()[0];
    let (y, w) = case.tensors(Kind::Float, 3);
    let clean = inv_conv2d(&y, &w, &case.corners).unwrap();
    let _ = y.get(4).get(1).get(9).get(9).fill_(f64::INFINITY);
    let x = inv_conv2d(&y, &w, &case.corners).unwrap();
    let error = largest(&(x.narrow(0, 5, 12) - clean.narrow(0, 5, 12)));
    assert!(error < 1e-5, "{error:e}");
    // nor what comes before it in its own image
    let error = largest(&(x.get(4).narrow(1, 0, 9) - clean.get(4).narrow(1, 0, 9)));
    assert!(error < 1e-5, "{error:e}");
}
