//! The CUDA kernels on a GPU, against the CPU kernels. Every test says that it skips where there is no GPU;
//! `INVERSE_FLOW_REQUIRE_CUDA=1` turns skipping into failing.

mod ops_cases;

use inverse_flow::ops::{inv_conv2d, masked_conv2d, Corner};
use ops_cases::{cases, random, Case};
use tch::{Device, Kind, Tensor};

/// Device 0, or nothing and the reason on the standard error stream.
fn gpu(test: &str) -> Option<Device> {
    match inverse_flow::cuda::availability() {
        Ok(()) => Some(Device::Cuda(0)),
        Err(why) if std::env::var("INVERSE_FLOW_REQUIRE_CUDA").is_ok_and(|v| v == "1") => {
            panic!("{why}")
        }
        Err(why) => {
            eprintln!("skipped: {test}: {why}");
            None
        }
    }
}

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

/// Shapes of the models and beyond: images that fill shared memory, and images that do not fit into it.
fn sizes_of_models() -> Vec<Case> {
    vec![
        Case::new([100, 4, 14, 14], 2, &[Corner::TopLeft]),
        Case::new([100, 12, 16, 16], 3, &[Corner::TopLeft]),
        Case::new([7, 48, 8, 8], 3, &Corner::ALL),
        Case::new([2, 48, 64, 64], 3, &[Corner::BottomRight]),
        Case::new([1, 12, 128, 128], 3, &[Corner::TopRight]),
        Case::new([3, 12, 16, 16], 11, &[Corner::TopLeft]),
        Case::new([2, 200, 5, 6], 2, &[Corner::TopLeft]),
    ]
}

#[test]
fn cuda_values_and_gradients_equal_those_of_the_cpu() {
    let Some(device) = gpu("parity") else { return };
    for case in cases().into_iter().chain(sizes_of_models()) {
        for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 5e-5)] {
            for (name, operator) in [
                ("solve", inv_conv2d as fn(&_, &_, &_) -> _),
                ("conv", masked_conv2d),
            ] {
                let got = run(operator, &case, kind, device);
                let expected = run(operator, &case, kind, Device::Cpu);
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
fn cuda_results_are_bit_identical_from_run_to_run() {
    let Some(device) = gpu("repeatability") else {
        return;
    };
    for case in sizes_of_models() {
        let first = run(inv_conv2d, &case, Kind::Float, device);
        for _ in 0..5 {
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
    const STEP: f64 = 1e-5;
    let Some(device) = gpu("central differences") else {
        return;
    };
    let case = Case::new([2, 4, 3, 4], 2, &[Corner::TopRight, Corner::BottomLeft]);
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
    let Some(device) = gpu("mixed devices") else {
        return;
    };
    let (x, w) = Case::new([2, 4, 3, 4], 2, &[Corner::TopLeft]).tensors(Kind::Float, 5);
    let text = inv_conv2d(&x.to_device(device), &w, &[Corner::TopLeft])
        .unwrap_err()
        .to_string();
    assert!(text.contains("`weight`") && text.contains("Cuda"), "{text}");
}
