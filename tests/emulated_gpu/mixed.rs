//! Tensors of several devices in one operator.

use crate::bindings::{emulated, refusal};
use tch::{Device, Kind, Tensor};

fn assert_mixed<T>(what: &str, result: Result<T, tch::TchError>) {
    let text = refusal(result);
    assert!(text.contains("on the same device"), "{what}: {text}");
}

#[test]
fn cuda_tensors_of_two_devices_are_refused() {
    let Some((_turn, _, [first, second])) = emulated("cuda_tensors_of_two_devices_are_refused")
    else {
        return;
    };
    let x = Tensor::randn([4, 4], (Kind::Float, first));
    let image = Tensor::randn([2, 3, 8, 8], (Kind::Float, first));
    let weight = Tensor::randn([6, 3, 3, 3], (Kind::Float, first));
    for other in [Device::Cpu, second] {
        let there = |t: &Tensor| t.to_device(other);
        let y = there(&x);
        assert_mixed("add", x.f_add(&y));
        assert_mixed("add in place", x.copy().f_add_(&y));
        assert_mixed("add in place, the other way round", y.copy().f_add_(&x));
        assert_mixed("matrix product", x.f_mm(&y));
        assert_mixed("cat", Tensor::f_cat(&[&x, &y], 0));
        assert_mixed("stack", Tensor::f_stack(&[&x, &y], 0));
        assert_mixed("where", x.f_where_self(&x.gt(0.0), &y));
        let one = Tensor::from(1.0f32);
        assert_mixed("mask", x.f_masked_fill_tensor(&y.gt(0.0), &one));
        assert_mixed(
            "gather",
            x.f_gather(0, &Tensor::zeros([4, 4], (Kind::Int64, other)), false),
        );
        assert_mixed("out", x.f_add_out(&y.copy(), &x));
        let conv = |weight: &Tensor, bias: Option<&Tensor>| {
            image.f_conv2d(weight, bias, [1, 1], [1, 1], [1, 1], 1)
        };
        assert_mixed("weight of a convolution", conv(&there(&weight), None));
        let bias = Tensor::zeros([6], (Kind::Float, other));
        assert_mixed("bias of a convolution", conv(&weight, Some(&bias)));
    }
    // a number may lie on the CPU, but not on another device
    let number = Tensor::from(2.0f32);
    let _ = x.f_mul(&number).unwrap();
    assert_mixed(
        "number of another device",
        x.f_mul(&number.to_device(second)),
    );
    assert_mixed("number in a product", x.f_mm(&number));
}

#[test]
fn cuda_indices_may_lie_on_the_cpu_and_values_may_not() {
    let Some((_turn, _, [first, second])) =
        emulated("cuda_indices_may_lie_on_the_cpu_and_values_may_not")
    else {
        return;
    };
    let x = Tensor::arange(12, (Kind::Float, first)).view([4, 3]);
    let rows = Tensor::from_slice(&[0i64, 2]);
    let picked = x.index(&[Some(&rows)]);
    assert_eq!((picked.device(), picked.size()), (first, vec![2, 3]));
    assert_mixed(
        "index of another device",
        x.f_index(&[Some(&rows.to_device(second))]),
    );
    let values = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
    assert_mixed(
        "values",
        x.copy().f_index_put_(&[Some(&rows)], &values, false),
    );
}
