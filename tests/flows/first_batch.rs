//! Nets that are set from a first batch: what they compute, and how it begins.

use crate::common::*;
use inverse_flow::nn::{norm_net, weight_norm_net, Conditioner, WeightNorm};
use inverse_flow::Error;
use tch::{Kind, Tensor};

fn conv(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let pad = weight.size()[2] / 2;
    x.conv2d(weight, bias, [1], [pad], [1], 1)
}

/// Every channel of `x` has mean 0 and variance 1.
#[track_caller]
fn assert_standard(x: &Tensor) {
    let x = x.transpose(0, 1).flatten(1, -1);
    let (var, mean) = x.var_mean_dim([1i64].as_slice(), true, false);
    assert_close("mean", &mean, &mean.zeros_like(), 1e-10);
    assert_close("variance", &var, &var.ones_like(), 1e-10);
}

/// `gain direction / |direction|`.
fn normalised(direction: &Tensor, gain: &Tensor) -> Tensor {
    let norm = direction
        .square()
        .sum_dim_intlist([1i64, 2, 3].as_slice(), true, Kind::Double)
        .sqrt();
    gain * direction / norm
}

#[test]
fn a_weight_is_its_gain_times_its_direction() {
    let vs = store(Kind::Double);
    let mut layer = WeightNorm::standardised(&vs.root(), [5, 3, 2, 3]).unwrap();
    let err = layer.weight().unwrap_err();
    assert!(matches!(err, Error::NotInitialized { .. }), "{err}");
    let x = normal(1, &[4, 3, 6, 7]);
    let convolve = |weight: &Tensor, bias: &Tensor| Ok(conv(&x, weight, Some(bias)));
    layer.initialize(convolve).unwrap();
    let v = vs.variables();
    let weight = layer.weight().unwrap();
    assert_close(
        "weight",
        &weight,
        &normalised(&v["direction"], &v["gain"]),
        1e-12,
    );
    assert_standard(&conv(&x, &weight, Some(layer.bias())));
}

#[test]
fn the_weight_normalised_net_begins_standardised_and_ends_at_zero() {
    let vs = store(Kind::Double);
    let mut net = weight_norm_net(&vs.root(), 3, 4, 6).unwrap();
    let x = normal(1, &[4, 3, 5, 6]);
    assert!(net.forward(&x, None).is_err());
    net.initialize(&x, None).unwrap();
    assert_eq!(
        net.forward(&x, None).unwrap().abs().max().double_value(&[]),
        0.0
    );

    let v = vs.variables();
    let layer = |x: &Tensor, at: i64| {
        let part = |name: &str| &v[&format!("{at}.{name}")];
        let weight = normalised(part("direction"), part("gain"));
        conv(x, &weight, Some(part("bias")))
    };
    let first = layer(&x, 0);
    assert_standard(&first);
    let second = layer(&first.elu(), 2);
    assert_standard(&second);
    shake(&vs, 3, 0.2);
    let expected = layer(&layer(&layer(&x, 0).elu(), 2).elu(), 4);
    assert_close("net", &net.forward(&x, None).unwrap(), &expected, 1e-12);
}

#[test]
fn the_normalised_net_begins_standardised_and_ends_at_zero() {
    let vs = store(Kind::Double);
    let mut net = norm_net(&vs.root(), 3, 4, 6).unwrap();
    let x = normal(1, &[4, 3, 5, 6]);
    assert!(net.forward(&x, None).is_err());
    net.initialize(&x, None).unwrap();
    assert_eq!(
        net.forward(&x, None).unwrap().abs().max().double_value(&[]),
        0.0
    );

    let v = vs.variables();
    let column = |name: String| v[&name].view([1, -1, 1, 1]);
    let layer = |x: &Tensor, at: i64| {
        let y = conv(x, &v[&format!("{at}.weight")], None) + column(format!("{at}.shift"));
        y * column(format!("{at}.log_scale")).exp()
    };
    let first = layer(&x, 0);
    assert_standard(&first);
    assert_standard(&layer(&first.relu(), 2));
    shake(&vs, 3, 0.2);
    let hidden = layer(&layer(&x, 0).relu(), 2).relu();
    let last = conv(&hidden, &v["4.weight"], Some(&v["4.bias"]));
    let expected = (last + column("4.second_bias".into())) * (column("4.logs".into()) * 3.0).exp();
    assert_close("net", &net.forward(&x, None).unwrap(), &expected, 1e-12);
}

#[test]
fn a_constant_channel_keeps_its_scale() {
    let vs = store(Kind::Double);
    let mut layer = WeightNorm::standardised(&vs.root(), [2, 1, 1, 1]).unwrap();
    let black = Tensor::zeros([3, 1, 4, 4], (Kind::Double, device()));
    layer
        .initialize(|weight, bias| Ok(conv(&black, weight, Some(bias))))
        .unwrap();
    let largest = vs.variables()["gain"].abs().max().double_value(&[]);
    assert_eq!(largest, 1.0);
}

#[test]
fn a_net_without_width_is_a_configuration_error() {
    let vs = store(Kind::Double);
    for err in [
        weight_norm_net(&vs.root(), 3, 4, 0).unwrap_err(),
        norm_net(&vs.root(), 3, 4, 0).unwrap_err(),
    ] {
        assert!(err.to_string().contains("`width`"), "{err}");
    }
}
