//! The laws of a layer as assertions: the log-det against the Jacobian, inverses against round trips.

use crate::common::*;
use inverse_flow::flows::{Cx, Mapped, Transform};
use tch::{nn, Kind, Tensor};

/// Overwrites every trainable variable with `N(0, std^2)`.
pub fn randomize(vs: &nn::VarStore, seed: u64, std: f64) {
    for (index, (_, mut variable)) in (0..).zip(named(vs)) {
        if variable.requires_grad() {
            let values = normal(seed * 1000 + index, &variable.size()) * std;
            tch::no_grad(|| variable.copy_(&values));
        }
    }
}

/// `inverse(forward(x)) = x`, `forward(inverse(z)) = z` for the `z` of `x` shaken a little, the log-dets cancel, and
/// shapes and kinds are as promised.
#[track_caller]
pub fn assert_bijective(what: &str, layer: &dyn Transform, x: &Tensor, tol: f64) {
    let cx = Cx::default();
    let size = x.size();
    let there = layer.forward(x, cx).unwrap();
    let chw = layer.out_shape([size[1], size[2], size[3]]).unwrap();
    assert_eq!(there.value.size()[1..], chw, "{what}: out_shape");
    let back = layer.inverse(&there.value, cx).unwrap();
    assert_close(&format!("{what}: inverse of forward"), &back.value, x, tol);
    assert_cancel(what, &there, &back, size[0], tol);

    let z = &there.value + normal(77, &there.value.size()).to_kind(x.kind()) * 0.1;
    let back = layer.inverse(&z, cx).unwrap();
    let there = layer.forward(&back.value, cx).unwrap();
    assert_close(
        &format!("{what}: forward of inverse"),
        &there.value,
        &z,
        tol,
    );
    assert_cancel(what, &there, &back, size[0], tol);
}

#[track_caller]
fn assert_cancel(what: &str, there: &Mapped, back: &Mapped, n: i64, tol: f64) {
    for mapped in [there, back] {
        assert_eq!(mapped.log_det.size(), [n], "{what}: log-det size");
        assert_eq!(
            mapped.log_det.kind(),
            mapped.value.kind(),
            "{what}: log-det kind"
        );
    }
    let zero = there.log_det.zeros_like();
    let sum = &there.log_det + &back.log_det;
    assert_close(&format!("{what}: sum of log-dets"), &sum, &zero, tol);
}

/// The layer's log-dets against those of its Jacobian, sample by sample, in both directions.
#[track_caller]
pub fn assert_log_det(what: &str, layer: &dyn Transform, x: &Tensor, tol: f64) {
    let cx = Cx::default();
    let there = layer.forward(x, cx).unwrap();
    let back = layer.inverse(&there.value.detach(), cx).unwrap();
    for i in 0..x.size()[0] {
        let exact = jacobian_log_det(&x.narrow(0, i, 1), |x| layer.forward(x, cx).unwrap().value);
        let got = there.log_det.double_value(&[i]);
        assert!(
            (got - exact).abs() <= tol,
            "{what}: log-det {got}, Jacobian {exact}"
        );
        let z = there.value.narrow(0, i, 1).detach();
        let exact = jacobian_log_det(&z, |z| layer.inverse(z, cx).unwrap().value);
        let got = back.log_det.double_value(&[i]);
        assert!(
            (got - exact).abs() <= tol,
            "{what}: inverse log-det {got}, Jacobian {exact}"
        );
    }
}

/// A scalar that depends on every number of `mapped`, with weights from `seed`.
pub fn probe(mapped: &Mapped, seed: u64) -> Tensor {
    let value = &mapped.value * normal(seed, &mapped.value.size());
    let log_det = &mapped.log_det * normal(seed + 1, &mapped.log_det.size());
    value.sum(Kind::Double) + log_det.sum(Kind::Double)
}
