//! What operators must do on the devices as on a card: results, views, shapes, gradients, random numbers.

use crate::bindings::{emulated, refusal};
use tch::{Device, Kind, Tensor};

fn assert_same(got: &Tensor, expected: &Tensor) {
    assert!(
        got.to_device(Device::Cpu)
            .allclose(expected, 1e-5, 1e-6, false),
        "{got} against {expected}"
    );
}

#[test]
fn cuda_copies_views_and_sizes_are_those_of_the_cpu() {
    let Some((_turn, _, devices)) = emulated("cuda_copies_views_and_sizes_are_those_of_the_cpu")
    else {
        return;
    };
    for device in devices {
        let on_cpu = Tensor::arange(16, (Kind::Float, Device::Cpu)).view([4, 4]);
        let x = on_cpu.to_device(device);
        assert_eq!(x.device(), device);
        assert!(x.to_device(Device::Cpu).equal(&on_cpu));
        // a view of a view writes into the memory of the first
        let _ = x.tr().get(1).narrow(0, 1, 2).zero_();
        let _ = on_cpu.tr().get(1).narrow(0, 1, 2).zero_();
        let _ = x.view([2, 8]).unfold(1, 2, 4).f_mul_scalar_(3.0).unwrap();
        let _ = on_cpu
            .view([2, 8])
            .unfold(1, 2, 4)
            .f_mul_scalar_(3.0)
            .unwrap();
        assert!(x.to_device(Device::Cpu).equal(&on_cpu));
        // an output of another size is made anew
        let out = Tensor::empty([0], (Kind::Float, device));
        let _ = x.f_mm_out(&out, &x).unwrap();
        assert_same(&out, &on_cpu.mm(&on_cpu));
        let mut grown = x.copy();
        let _ = grown.resize_([8, 8]);
        assert_same(&grown.view([-1]).narrow(0, 0, 16), &on_cpu.view([-1]));
        // between the devices
        for other in devices {
            assert!(x.to_device(other).to_device(Device::Cpu).equal(&on_cpu));
        }
        // shapes that depend on the numbers
        assert_same(&x.nonzero(), &on_cpu.nonzero());
        assert_same(
            &x.masked_select(&x.gt(5.0)),
            &on_cpu.masked_select(&on_cpu.gt(5.0)),
        );
        let (sorted, order) = x.sort(1, true);
        assert_eq!((sorted.device(), order.device()), (device, device));
    }
}

#[test]
fn cuda_gradients_are_those_of_the_cpu() {
    let Some((_turn, _, devices)) = emulated("cuda_gradients_are_those_of_the_cpu") else {
        return;
    };
    let image = Tensor::randn([2, 3, 6, 6], (Kind::Double, Device::Cpu));
    let weight = Tensor::randn([6, 1, 3, 3], (Kind::Double, Device::Cpu));
    let run = |device| {
        let leaf = |t: &Tensor| t.to_device(device).copy().set_requires_grad(true);
        let (image, weight) = (leaf(&image), leaf(&weight));
        let y = image
            .conv2d(&weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 3)
            .tanh();
        let rows = y.view([2, 6, 36]);
        let products =
            rows.matmul(&rows.transpose(1, 2)) + Tensor::eye(6, (Kind::Double, device)) * 40;
        (products.slogdet().1.sum(Kind::Double) + (&y * y.exp()).sum(Kind::Double)).backward();
        [image.grad(), weight.grad()]
    };
    let expected = run(Device::Cpu);
    for device in devices {
        for (got, expected) in run(device).iter().zip(&expected) {
            assert_eq!(got.device(), device);
            assert_same(got, expected);
        }
    }
}

#[test]
fn cuda_second_derivatives_may_be_zeros_without_memory() {
    let name = "cuda_second_derivatives_may_be_zeros_without_memory";
    let Some((_turn, _, devices)) = emulated(name) else {
        return;
    };
    for device in devices {
        let x = Tensor::from_slice(&[-2.0, 3.0]).to_device(device);
        let x = x.set_requires_grad(true);
        // the derivative of a sign is made without memory, and is added to one that has some
        let loss = (x.abs() * &x).sum(Kind::Double);
        let first = Tensor::run_backward(&[loss], &[&x], true, true).remove(0);
        let second = Tensor::run_backward(&[first.sum(Kind::Double)], &[&x], false, false);
        assert_eq!(Vec::<f64>::try_from(&second[0]).unwrap(), [-2.0, 2.0]);
        let sign = x.abs().sum(Kind::Double);
        let sign = Tensor::run_backward(&[sign], &[&x], true, true).remove(0);
        let second = Tensor::run_backward(&[sign.sum(Kind::Double)], &[&x], false, false);
        assert_eq!(Vec::<f64>::try_from(&second[0]).unwrap(), [0.0, 0.0]);
    }
}

#[test]
fn cuda_random_numbers_follow_the_seed_on_every_device() {
    let Some((_turn, _, devices)) = emulated("cuda_random_numbers_follow_the_seed_on_every_device")
    else {
        return;
    };
    for device in devices {
        let draw = || {
            tch::manual_seed(5);
            Tensor::randn([7], (Kind::Float, device))
        };
        let first = draw();
        assert!(first.equal(&draw()));
        assert!(!first.equal(&Tensor::randn([7], (Kind::Float, device))));
        // as on a card
        tch::manual_seed(5);
        let on_cpu = Tensor::randn([7], (Kind::Float, Device::Cpu));
        assert!(!first.to_device(Device::Cpu).equal(&on_cpu));
    }
}

#[test]
fn cuda_memory_that_nobody_wrote_is_nan() {
    let Some((_turn, _, devices)) = emulated("cuda_memory_that_nobody_wrote_is_nan") else {
        return;
    };
    for device in devices {
        for kind in [Kind::Float, Kind::Double] {
            let x = Tensor::empty([1000], (kind, device));
            assert_eq!(x.isnan().sum(Kind::Int64).int64_value(&[]), 1000);
        }
    }
}

#[test]
fn cuda_an_operator_without_a_kernel_for_cuda_is_refused() {
    let Some((_turn, _, [device, _])) =
        emulated("cuda_an_operator_without_a_kernel_for_cuda_is_refused")
    else {
        return;
    };
    let x = Tensor::randn([4, 4], (Kind::Float, device));
    let text = refusal(x.f_to_mkldnn(Kind::Float));
    assert!(text.contains("Could not run 'aten::to_mkldnn'"), "{text}");
}

#[test]
fn cuda_a_device_that_is_not_there_is_refused() {
    let Some((_turn, ..)) = emulated("cuda_a_device_that_is_not_there_is_refused") else {
        return;
    };
    let text = refusal(Tensor::f_zeros([3], (Kind::Float, Device::Cuda(2))));
    assert!(text.contains("invalid device ordinal"), "{text}");
}

/// Multi-tensor operators, fused Adam, TF32, streams and guards, which tch does not offer: `controls.cpp`.
#[test]
fn cuda_the_controls_in_cpp_hold() {
    let Some((_turn, ..)) = emulated("cuda_the_controls_in_cpp_hold") else {
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/emulated_gpu.sh");
    let output = std::process::Command::new(script)
        .arg("--controls")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{output:?}");
    assert!(text.lines().count() > 20, "{text}");
}
