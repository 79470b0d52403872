//! The operators against their specification, `ops::reference`, and against the definition of a gradient.

use crate::device::device;
use crate::ops_cases::{cases, random, Case};
use inverse_flow::ops::{inv_conv2d, masked_conv2d, reference, Corner, Geometry};
use tch::{Kind, Tensor};

fn max_abs(x: &Tensor) -> f64 {
    if x.numel() == 0 {
        return 0.0;
    }
    x.abs().max().double_value(&[])
}

/// Largest difference, relative to the size of the expected values.
fn difference(got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(got.size(), expected.size());
    assert_eq!(got.kind(), expected.kind());
    max_abs(&(got - expected)) / (1.0 + max_abs(expected))
}

/// Elements of the case's images.
fn elements(case: &Case) -> i64 {
    case.batch * case.channels * case.height * case.width
}

/// 1 where the operator reads the weight.
fn mask(case: &Case, x: &Tensor, w: &Tensor) -> Tensor {
    Geometry::check("test", x, w, &case.corners)
        .and_then(|geometry| geometry.anchor_mask(&case.corners, w.kind(), w.device()))
        .unwrap()
}

type Operator = fn(&Tensor, &Tensor, &[Corner]) -> inverse_flow::Result<Tensor>;
type Twin = fn(&Tensor, &Tensor, &[Corner], bool) -> inverse_flow::Result<Tensor>;
const PAIRS: [(&str, Operator, Twin); 2] = [
    ("solve", inv_conv2d, reference::solve),
    ("conv", masked_conv2d, reference::conv),
];

#[test]
fn values_and_gradients_equal_those_of_the_twin() {
    for case in cases() {
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-5)] {
            for (name, operator, twin) in PAIRS {
                let (x, w) = case.tensors(kind, 1);
                let cotangent = random(&x.size(), kind, 2);
                let run = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
                    let (x, w) = (
                        x.detach().set_requires_grad(true),
                        w.detach().set_requires_grad(true),
                    );
                    let y = f(&x, &w);
                    (&y * &cotangent).sum(kind).backward();
                    [y.detach(), x.grad(), w.grad()]
                };
                let got = run(&|x, w| operator(x, w, &case.corners).unwrap());
                let expected = run(&|x, w| twin(x, w, &case.corners, false).unwrap());
                for (what, got, expected) in itertools(&got, &expected) {
                    let error = difference(got, expected);
                    assert!(
                        error < tolerance,
                        "{name}, {what}, {kind:?}, {case:?}: {error:e}"
                    );
                }
            }
        }
    }
}

fn itertools<'a>(
    got: &'a [Tensor; 3],
    expected: &'a [Tensor; 3],
) -> Vec<(&'static str, &'a Tensor, &'a Tensor)> {
    let names = ["value", "input gradient", "weight gradient"];
    names
        .into_iter()
        .zip(got)
        .zip(expected)
        .map(|((n, g), e)| (n, g, e))
        .collect()
}

#[test]
fn gradients_equal_central_differences() {
    const STEP: f64 = 1e-5;
    // some of the entries on a GPU, which the host may emulate
    let every = if device().is_cuda() { 5 } else { 1 };
    for case in cases()
        .into_iter()
        .filter(|case| (1..400).contains(&elements(case)))
    {
        for (name, operator, _) in PAIRS {
            let (x, w) = case.tensors(Kind::Double, 3);
            let cotangent = random(&x.size(), Kind::Double, 4);
            let loss = |x: &Tensor, w: &Tensor| {
                (operator(x, w, &case.corners).unwrap() * &cotangent).sum(Kind::Double)
            };
            let (x, w) = (x.set_requires_grad(true), w.set_requires_grad(true));
            loss(&x, &w).backward();
            let _guard = tch::no_grad_guard();
            for (what, variable) in [("input", &x), ("weight", &w)] {
                let gradient = variable.grad();
                let flat = variable.view([-1]);
                for index in (0..flat.size()[0]).step_by(every) {
                    let old = flat.double_value(&[index]);
                    let at = |value: f64| {
                        let _ = flat.get(index).fill_(value);
                        loss(&x, &w).double_value(&[])
                    };
                    let slope = (at(old + STEP) - at(old - STEP)) / (2.0 * STEP);
                    at(old);
                    let exact = gradient.view([-1]).double_value(&[index]);
                    let error = (slope - exact).abs() / (1.0 + exact.abs());
                    assert!(
                        error < 1e-6,
                        "{name}, {what}[{index}], {case:?}: {exact} against {slope}"
                    );
                }
            }
        }
    }
}

#[test]
fn masked_taps_are_not_read_and_get_no_gradient() {
    for case in cases().into_iter().filter(|case| case.batch > 0) {
        for (name, operator, _) in PAIRS {
            let (x, w) = case.tensors(Kind::Double, 5);
            let mask = mask(&case, &x, &w);
            let dirty = w
                .masked_fill(&mask.eq(0.0), f64::NAN)
                .set_requires_grad(true);
            let clean = operator(&x, &(&w * &mask), &case.corners).unwrap();
            let y = operator(&x, &dirty, &case.corners).unwrap();
            assert_eq!(y, clean, "{name}, {case:?}");
            y.sum(Kind::Double).backward();
            assert_eq!(
                max_abs(&(dirty.grad() * (Tensor::ones_like(&mask) - mask))),
                0.0,
                "{name}, {case:?}"
            );
        }
    }
}

#[test]
fn batch_gradient_is_the_sum_of_the_samples() {
    let case = Case::new([19, 4, 5, 3], 3, &[Corner::TopRight, Corner::BottomLeft]);
    let (x, w) = case.tensors(Kind::Double, 6);
    let gradient = |x: &Tensor| {
        let w = w.detach().set_requires_grad(true);
        inv_conv2d(x, &w, &case.corners)
            .unwrap()
            .square()
            .sum(Kind::Double)
            .backward();
        w.grad()
    };
    let sum: Tensor = (0..19).map(|n| gradient(&x.narrow(0, n, 1))).sum();
    assert!(difference(&gradient(&x), &sum) < 1e-12);
}

#[test]
fn large_learned_taps_stay_an_inverse() {
    // emerging-convolution issue 2: learned weights, not small ones. The recursion grows along the image, so the error is
    // measured against the size of the solution; what a double can do is then the yardstick of the single.
    for std in [0.1, 0.3, 0.5] {
        let case = Case::new([2, 6, 12, 10], 3, &[Corner::TopLeft]);
        let (x, w) = case.tensors_with_taps(Kind::Double, 8, std);
        let solved = inv_conv2d(&x, &w, &case.corners).unwrap();
        let residual = masked_conv2d(&solved, &w, &case.corners).unwrap();
        let error = max_abs(&(residual - &x)) / max_abs(&solved);
        assert!(
            error < 1e-12,
            "taps of {std}: residual {error:e} of a solution of size {:e}",
            max_abs(&solved)
        );
        // an image that is made by the convolution comes back, up to rounding times the growth of the recursion
        let growth = max_abs(&solved) / max_abs(&x);
        let back = inv_conv2d(
            &masked_conv2d(&x, &w, &case.corners).unwrap(),
            &w,
            &case.corners,
        )
        .unwrap();
        let error = difference(&back, &x);
        assert!(
            error < 1e-13 * growth.max(1.0),
            "taps of {std}: {error:e} at a growth of {growth:e}"
        );
        let single = |t: &Tensor| t.to_kind(Kind::Float);
        let solved = inv_conv2d(&single(&x), &single(&w), &case.corners).unwrap();
        let residual = masked_conv2d(&solved, &single(&w), &case.corners).unwrap();
        let error = max_abs(&(residual - single(&x))) / max_abs(&solved);
        assert!(error < 1e-4, "taps of {std}, float32: residual {error:e}");
    }
}

#[test]
fn strided_inputs_and_weights_give_the_same_numbers() {
    let case = Case::new([5, 6, 4, 7], 2, &[Corner::BottomRight, Corner::TopLeft]);
    let (x, w) = case.tensors(Kind::Double, 9);
    let strided = |t: &Tensor| t.transpose(2, 3).contiguous().transpose(2, 3);
    assert!(!strided(&x).is_contiguous());
    for (_, operator, _) in PAIRS {
        let expected = operator(&x, &w, &case.corners).unwrap();
        assert_eq!(
            operator(&strided(&x), &strided(&w), &case.corners).unwrap(),
            expected
        );
        let wide = random(&[5, 6, 4, 9], Kind::Double, 10);
        wide.narrow(3, 1, 7).copy_(&x);
        assert_eq!(
            operator(&wide.narrow(3, 1, 7), &w, &case.corners).unwrap(),
            expected
        );
    }
}

#[test]
fn second_derivatives_equal_those_of_the_twin() {
    let case = Case::new([2, 4, 3, 4], 2, &[Corner::TopLeft, Corner::TopRight]);
    for (name, operator, twin) in PAIRS {
        let run = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
            let (x, w) = case.tensors(Kind::Double, 11);
            let (x, w) = (x.set_requires_grad(true), w.set_requires_grad(true));
            let first = Tensor::run_backward(
                &[f(&x, &w).pow_tensor_scalar(3).sum(Kind::Double)],
                &[&x, &w],
                true,
                true,
            );
            let norm = first[0].square().sum(Kind::Double) + first[1].square().sum(Kind::Double);
            let second = Tensor::run_backward(&[norm], &[&x, &w], false, false);
            [
                first[0].detach(),
                second[0].shallow_clone(),
                second[1].shallow_clone(),
            ]
        };
        let got = run(&|x, w| operator(x, w, &case.corners).unwrap());
        let expected = run(&|x, w| twin(x, w, &case.corners, false).unwrap());
        for (what, got, expected) in itertools(&got, &expected) {
            let error = difference(got, expected);
            assert!(error < 1e-11, "{name}, {what}: {error:e}");
        }
    }
}

#[test]
fn errors_name_the_argument() {
    let case = Case::new([2, 4, 3, 5], 2, &[Corner::TopLeft]);
    let (x, w) = case.tensors(Kind::Double, 12);
    let text = |x: &Tensor, w: &Tensor, corners: &[Corner]| {
        inv_conv2d(x, w, corners).unwrap_err().to_string()
    };
    let tl = &case.corners;
    assert!(text(&x.get(0), &w, tl).contains("`input` must have 4 dimensions"));
    assert!(
        text(&x, &w.narrow(0, 0, 3), tl).contains("`weight` must be [C, C/g, k, k] = [4, 4, 2, 2]")
    );
    assert!(text(&x, &w.to_kind(Kind::Float), tl).contains("`weight` must have the dtype float64"));
    assert!(text(&x.to_kind(Kind::Half), &w.to_kind(Kind::Half), tl)
        .contains("`input` must be float32 or float64"));
    assert!(text(&x, &w, &[]).contains("`corners`"));
    assert!(text(&x, &w, &Corner::ALL[..3]).contains("3 corners for 4 channels"));
    let meta = Tensor::zeros([2, 4, 3, 5], (Kind::Double, device()));
    assert!(inv_conv2d(&meta, &w, tl).is_ok());
}
