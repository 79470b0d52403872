//! What ActNorm promises about its first batch.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::Error;
use tch::Kind;

fn cx() -> Cx<'static> {
    Cx::default()
}

#[test]
fn actnorm_standardises_its_first_batch_only() {
    let vs = store(Kind::Double);
    let mut actnorm = ActNorm::new(&vs.root(), 3).unwrap();
    standardises_its_first_batch_only(&vs, &mut actnorm);
    let vs = store(Kind::Double);
    let mut actnorm = ScaleThenShift::new(&vs.root(), 3).unwrap();
    standardises_its_first_batch_only(&vs, &mut actnorm);
}

fn standardises_its_first_batch_only(vs: &tch::nn::VarStore, actnorm: &mut dyn Transform) {
    let x = normal(1, &[4, 3, 5, 2]) * 3.0 + 7.0;
    for map in [actnorm.forward(&x, cx()), actnorm.inverse(&x, cx())] {
        assert!(matches!(
            map.unwrap_err(),
            Error::NotInitialized { layer: "actnorm" }
        ));
    }
    actnorm.initialize(&x, cx()).unwrap();
    let z = actnorm
        .forward(&x, cx())
        .unwrap()
        .value
        .transpose(0, 1)
        .reshape([3, -1]);
    let (var, mean) = z.var_mean_dim([1i64].as_slice(), true, false);
    assert_close("mean", &mean, &mean.zeros_like(), 1e-12);
    assert_close("variance", &var, &var.ones_like(), 1e-12);

    let before: Vec<_> = named(vs).into_iter().map(|(_, v)| v.copy()).collect();
    actnorm.initialize(&normal(2, &[4, 3, 5, 2]), cx()).unwrap();
    for ((name, after), before) in named(vs).into_iter().zip(before) {
        assert!(after.equal(&before), "{name} moved");
    }
}

#[test]
fn scale_then_shift_is_what_its_name_says() {
    let vs = store(Kind::Double);
    let mut actnorm = ScaleThenShift::new(&vs.root(), 3).unwrap();
    let x = normal(1, &[2, 3, 4, 5]);
    actnorm.initialize(&x, cx()).unwrap();
    randomize(&vs, 2, 0.5);
    let v = vs.variables();
    let expected = &x * v["log_scale"].exp().view([1, 3, 1, 1]) + v["loc"].view([1, 3, 1, 1]);
    let z = actnorm.forward(&x, cx()).unwrap().value;
    assert_close("value", &z, &expected, 1e-12);
}

#[test]
fn a_constant_channel_keeps_its_scale() {
    for kind in [Kind::Float, Kind::Double] {
        let vs = store(kind);
        let mut actnorm = ActNorm::new(&vs.root(), 2).unwrap();
        let x = (normal(1, &[4, 2, 3, 3]) * 2.0).to_kind(kind);
        let _ = x.select(1, 1).fill_(-6.2345);
        actnorm.initialize(&x, cx()).unwrap();
        let mapped = actnorm.forward(&(&x + 0.5), cx()).unwrap();
        // half a unit off the constant stays half a unit
        let shifted = mapped.value.select(1, 1).to_kind(Kind::Double);
        assert_close(
            "constant channel",
            &shifted,
            &(shifted.zeros_like() + 0.5),
            1e-5,
        );
        assert!(mapped.log_det.isfinite().all().int64_value(&[]) == 1);
    }
}

#[test]
fn actnorm_needs_two_values_per_channel() {
    let vs = store(Kind::Double);
    let mut actnorm = ActNorm::new(&vs.root(), 2).unwrap();
    for n in [0, 1] {
        let err = actnorm
            .initialize(&normal(1, &[n, 2, 1, 1]), cx())
            .unwrap_err();
        assert!(
            err.to_string().contains("at least two values per channel"),
            "{err}"
        );
    }
    assert!(!actnorm.is_initialized().unwrap());
}

#[test]
fn a_loaded_actnorm_is_ready_and_no_batch_moves_it() {
    let file = tempfile::Builder::new()
        .suffix(".safetensors")
        .tempfile()
        .unwrap();
    let vs = store(Kind::Double);
    let mut actnorm = ActNorm::new(&vs.root(), 3).unwrap();
    let x = normal(1, &[4, 3, 5, 2]) * 3.0 + 7.0;
    actnorm.initialize(&x, cx()).unwrap();
    let expected = actnorm.forward(&x, cx()).unwrap();
    vs.save(file.path()).unwrap();

    let mut vs = store(Kind::Double);
    let mut loaded = ActNorm::new(&vs.root(), 3).unwrap();
    assert!(loaded.forward(&x, cx()).is_err());
    vs.load(file.path()).unwrap();
    loaded
        .initialize(&(normal(2, &[4, 3, 5, 2]) * 100.0), cx())
        .unwrap();
    let got = loaded.forward(&x, cx()).unwrap();
    assert_close("value", &got.value, &expected.value, 0.0);
    assert_close("log-det", &got.log_det, &expected.log_det, 0.0);
}
