//! The CUDA kernels on a GPU, against the CPU kernels.

use crate::gpu::gpu;
use crate::ops_cases::{cases, random, Case};
use inverse_flow::ops::{inv_conv2d, masked_conv2d, Corner};
use tch::{Device, Kind, Tensor};

/// Value, input gradient and weight gradient of `operator` on `device`, on the CPU.
fn run(
    operator: fn(&Tensor, &Tensor, &[Corner]) -> inverse_flow::Result<Tensor>,
    case: &Case,
    kind: Kind,
    device: Device,
) -> [Tensor; 3] {
    let (x, w) = case.tensors(kind, 1);
    let cotangent = random(&x.size(), kind, 2).to_device(device);
    let (x, w) = (
        x.to_device(device).set_requires_grad(true),
        w.to_device(device).set_requires_grad(true),
    );
    let y = operator(&x, &w, &case.corners).unwrap();
    assert_eq!(y.device(), device);
    (&y * cotangent).sum(kind).backward();
    [y.detach(), x.grad(), w.grad()].map(|t| t.to_device(Device::Cpu))
}

/// Small shapes that take every path of the kernels: few enough for compute-sanitizer.
fn small_shapes() -> Vec<Case> {
    let mut shapes = cases();
    shapes.extend([
        // every number of channels that has a kernel of its own, and beyond
        Case::new([2, 7, 5, 4], 3, &[Corner::TopLeft]),
        Case::new([1, 32, 3, 4], 2, &[Corner::TopLeft, Corner::BottomRight]),
        Case::new([1, 20, 4, 3], 3, &[Corner::TopRight]),
        Case::new([1, 40, 3, 4], 3, &[Corner::BottomLeft]),
        Case::new([1, 12, 17, 4], 5, &[Corner::TopLeft]),
        Case::new([1, 200, 2, 3], 2, &[Corner::TopLeft]),
        // images in bands: blocks that wait for each other
        Case::new([2, 12, 40, 9], 3, &[Corner::BottomRight]),
        Case::new([1, 6, 37, 5], 4, &[Corner::TopLeft, Corner::TopRight]),
        Case::new([1, 48, 9, 3], 2, &[Corner::TopLeft]),
    ]);
    shapes
}

/// Shapes of the bench, in small batches, and of the models.
fn shapes_of_the_bench() -> Vec<Case> {
    let mut shapes: Vec<_> = [
        ([6, 4, 14, 14], 3),
        ([6, 16, 7, 7], 3),
        ([6, 12, 16, 16], 2),
        ([100, 12, 16, 16], 3),
        ([6, 12, 16, 16], 5),
        ([6, 12, 16, 16], 7),
        ([6, 12, 16, 16], 11),
        ([6, 24, 8, 8], 3),
        ([6, 48, 8, 8], 3),
        ([3, 12, 32, 32], 3),
        ([7, 12, 64, 64], 3),
        ([2, 12, 128, 128], 3),
        ([1, 12, 256, 256], 3),
        ([1, 12, 16, 16], 3),
        ([1, 48, 64, 64], 3),
    ]
    .into_iter()
    .map(|(image, kernel)| Case::new(image, kernel, &[Corner::TopLeft]))
    .collect();
    shapes.push(Case::new([7, 48, 8, 8], 3, &Corner::ALL));
    shapes.push(Case::new([7, 12, 16, 16], 3, &Corner::ALL));
    shapes
}

fn assert_parity(shapes: &[Case], device: Device) {
    for case in shapes {
        for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 5e-5)] {
            for (name, operator) in [
                ("solve", inv_conv2d as fn(&_, &_, &_) -> _),
                ("conv", masked_conv2d),
            ] {
                let got = run(operator, case, kind, device);
                let expected = run(operator, case, kind, Device::Cpu);
                for (what, (got, expected)) in ["value", "input gradient", "weight gradient"]
                    .iter()
                    .zip(got.iter().zip(&expected))
                {
                    if expected.numel() == 0 {
                        assert_eq!(got.size(), expected.size());
                        continue;
                    }
                    let scale = 1.0 + expected.abs().max().double_value(&[]);
                    let error = (got - expected).abs().max().double_value(&[]) / scale;
                    // written so that a NaN fails
                    assert!(
                        error < tolerance,
                        "{name}, {what}, {kind:?}, {case:?}: {error:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn cuda_small_shapes_equal_those_of_the_cpu() {
    let Some(device) = gpu("cuda_small_shapes_equal_those_of_the_cpu") else {
        return;
    };
    assert_parity(&small_shapes(), device);
}

#[test]
fn cuda_shapes_of_the_bench_equal_those_of_the_cpu() {
    let Some(device) = gpu("cuda_shapes_of_the_bench_equal_those_of_the_cpu") else {
        return;
    };
    assert_parity(&shapes_of_the_bench(), device);
}

#[test]
fn cuda_published_scheme_equals_the_operator() {
    let Some(device) = gpu("cuda_published_scheme_equals_the_operator") else {
        return;
    };
    for corner in Corner::ALL {
        let case = Case::new([3, 5, 6, 4], 3, &[corner]);
        let (y, w) = case.tensors(Kind::Double, 1);
        let (y, w) = (y.to_device(device), w.to_device(device));
        let got = inverse_flow::cuda::baseline::solve(&y, &w, corner).unwrap();
        let expected = inv_conv2d(&y, &w, &[corner]).unwrap();
        let error = (got - expected).abs().max().double_value(&[]);
        assert!(error < 1e-12, "{corner:?}: {error:e}");
    }
}

#[test]
fn cuda_results_are_bit_identical_from_run_to_run() {
    let Some(device) = gpu("cuda_results_are_bit_identical_from_run_to_run") else {
        return;
    };
    for case in shapes_of_the_bench() {
        let first = run(inv_conv2d, &case, Kind::Float, device);
        let small = first[0].numel() < 100_000;
        for _ in 0..if small { 5 } else { 1 } {
            assert_eq!(
                run(inv_conv2d, &case, Kind::Float, device),
                first,
                "{case:?}"
            );
        }
    }
}

#[test]
fn cuda_gradients_equal_central_differences() {
    let Some(device) = gpu("cuda_gradients_equal_central_differences") else {
        return;
    };
    for case in [
        Case::new([2, 4, 3, 4], 2, &[Corner::TopRight, Corner::BottomLeft]),
        // in two bands
        Case::new([1, 2, 18, 3], 3, &[Corner::TopLeft]),
    ] {
        assert_central_differences(&case, device);
    }
}

fn assert_central_differences(case: &Case, device: Device) {
    const STEP: f64 = 1e-5;
    let (x, w) = case.tensors(Kind::Double, 3);
    let (x, w) = (
        x.to_device(device).set_requires_grad(true),
        w.to_device(device).set_requires_grad(true),
    );
    let cotangent = random(&x.size(), Kind::Double, 4).to_device(device);
    let loss = || (inv_conv2d(&x, &w, &case.corners).unwrap() * &cotangent).sum(Kind::Double);
    loss().backward();
    let _guard = tch::no_grad_guard();
    for variable in [&x, &w] {
        let (flat, gradient) = (variable.view([-1]), variable.grad().view([-1]));
        for index in 0..flat.size()[0] {
            let old = flat.double_value(&[index]);
            let at = |value: f64| {
                let _ = flat.get(index).fill_(value);
                loss().double_value(&[])
            };
            let slope = (at(old + STEP) - at(old - STEP)) / (2.0 * STEP);
            at(old);
            let exact = gradient.double_value(&[index]);
            assert!(
                (slope - exact).abs() / (1.0 + exact.abs()) < 1e-6,
                "[{index}]: {exact} against {slope}"
            );
        }
    }
}

#[test]
fn cuda_mixed_devices_are_an_error() {
    let Some(device) = gpu("cuda_mixed_devices_are_an_error") else {
        return;
    };
    let (x, w) = Case::new([2, 4, 3, 4], 2, &[Corner::TopLeft]).tensors(Kind::Float, 5);
    let (x, w) = (x.to_device(device), w.to_device(Device::Cpu));
    let text = inv_conv2d(&x, &w, &[Corner::TopLeft])
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`weight`") && text.contains("cuda:"),
        "{text}"
    );
}
