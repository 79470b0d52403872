//! What the tests of layers and models share: seeded tensors, and the laws as assertions.
//!
//! Everything is checked against a definition: the log-det against the Jacobian, gradients against central
//! differences, inverses against round trips.

#![allow(dead_code)] // every test binary uses its own part

use inverse_flow::flows::{Cx, Mapped, Transform};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::{Mutex, PoisonError};
use tch::{nn, Device, Kind, Tensor};

/// Standard normal numbers, float64, from a seed (libtorch's generator is global and tests run in parallel).
pub fn normal(seed: u64, size: &[i64]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = size.iter().product::<i64>() as usize;
    let values: Vec<f64> = (0..count)
        .map(|_| {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
        })
        .collect();
    Tensor::from_slice(&values).view(size)
}

/// Uniform numbers in `[0, 1)`, float64.
pub fn uniform(seed: u64, size: &[i64]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = size.iter().product::<i64>() as usize;
    let values: Vec<f64> = (0..count).map(|_| rng.random()).collect();
    Tensor::from_slice(&values).view(size)
}

/// Random 8-bit images as float64.
pub fn images(seed: u64, size: &[i64]) -> Tensor {
    (uniform(seed, size) * 256.0).floor()
}

/// An empty store whose variables will be of `kind`, on the CPU.
pub fn store(kind: Kind) -> nn::VarStore {
    let mut vs = nn::VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    vs
}

/// What `make` makes with libtorch's global generator at a seed of its own, no matter what other tests draw meanwhile:
/// the parameters of a layer or a model are the same in every run.
pub fn seeded<T>(make: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    // a test that failed inside leaves nothing half done
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(11);
    make()
}

/// Names and tensors of `vs`, sorted.
pub fn named(vs: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}

/// Overwrites every trainable variable with `N(0, std^2)`.
pub fn randomize(vs: &nn::VarStore, seed: u64, std: f64) {
    for (index, (_, mut variable)) in (0..).zip(named(vs)) {
        if variable.requires_grad() {
            let values = normal(seed * 1000 + index, &variable.size()) * std;
            tch::no_grad(|| variable.copy_(&values));
        }
    }
}

/// Adds `N(0, std^2)` to every trainable variable.
pub fn shake(vs: &nn::VarStore, seed: u64, std: f64) {
    for (index, (_, mut variable)) in (0..).zip(trainable(vs)) {
        let noise = normal(seed * 1000 + index, &variable.size()).to_kind(variable.kind()) * std;
        tch::no_grad(|| variable += noise);
    }
}

/// Largest absolute difference; 0 for empty tensors, NaN if there is a NaN.
pub fn max_diff(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    if a.numel() == 0 {
        return 0.0;
    }
    (a - b).abs().max().double_value(&[])
}

/// `a` and `b` agree to `tol`.
#[track_caller]
pub fn assert_close(what: &str, a: &Tensor, b: &Tensor, tol: f64) {
    let diff = max_diff(a, b);
    assert!(diff <= tol, "{what}: differ by {diff:e}, allowed {tol:e}");
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

/// The Jacobian of `map` at the one sample `x` `[1, ...]`, `[outputs, inputs]`, by reverse-mode differentiation.
pub fn jacobian(x: &Tensor, map: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let x = x.copy().set_requires_grad(true);
    let y = map(&x).reshape([-1]);
    let rows: Vec<Tensor> = (0..y.numel() as i64)
        .map(|i| Tensor::run_backward(&[y.get(i)], &[&x], true, false)[0].reshape([-1]))
        .collect();
    Tensor::stack(&rows, 0)
}

/// `log|det|` of the [`jacobian`].
pub fn jacobian_log_det(x: &Tensor, map: impl Fn(&Tensor) -> Tensor) -> f64 {
    let (_, log_det) = jacobian(x, map).slogdet();
    log_det.double_value(&[])
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

/// The derivative of `at` at 0 by differences of fourth order, since second derivatives of a spline are large.
fn central_difference(at: impl Fn(f64) -> f64, step: f64) -> f64 {
    let near = at(step) - at(-step);
    let far = at(2.0 * step) - at(-2.0 * step);
    (8.0 * near - far) / (12.0 * step)
}

/// The same of third order, from the side that `step` goes to.
fn side_difference(at: impl Fn(f64) -> f64, step: f64) -> f64 {
    let [here, one, two, three] = [0.0, 1.0, 2.0, 3.0].map(|steps| at(steps * step));
    (18.0 * one - 11.0 * here - 9.0 * two + 2.0 * three) / (6.0 * step)
}

/// Autograd's gradient of `loss` with respect to every tensor against differences, at up to 12 entries each: central
/// ones, or those of the side without a kink.
///
/// Entries are chosen by seed; `variables` must be float64 leaves that require gradients.
#[track_caller]
pub fn assert_gradients(variables: &[(String, Tensor)], tol: f64, loss: impl Fn() -> Tensor) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let leaves: Vec<&Tensor> = variables.iter().map(|(_, variable)| variable).collect();
    let gradients = Tensor::run_backward(&[loss()], &leaves, false, false);
    let mut largest: f64 = 0.0;
    for ((name, variable), gradient) in variables.iter().zip(gradients) {
        let count = variable.numel() as i64;
        let entries: Vec<i64> = if count <= 12 {
            (0..count).collect()
        } else {
            (0..12).map(|_| rng.random_range(0..count)).collect()
        };
        for entry in entries {
            let at = |shift: f64| {
                tch::no_grad(|| {
                    let mut cell = variable.view([-1]).get(entry);
                    let before = cell.copy();
                    let _ = cell.g_add_scalar_(shift);
                    let value = loss().double_value(&[]);
                    cell.copy_(&before);
                    value
                })
            };
            const STEP: f64 = 1e-5;
            let exact = gradient.reshape([-1]).double_value(&[entry]);
            let agrees = |numeric: f64| (exact - numeric).abs() <= tol * (1.0 + numeric.abs());
            let centre = central_difference(at, STEP);
            largest = largest.max(centre.abs());
            if agrees(centre) {
                continue;
            }
            // across a knot of a spline, or the 0 of ELU, a derivative jumps; at most one side of a point has the jump
            let [left, right] = [-STEP, STEP].map(|step| side_difference(at, step));
            assert!(
                agrees(left) || agrees(right),
                "{name}[{entry}]: gradient {exact}, central difference {centre}, from the left {left}, the right {right}"
            );
        }
    }
    assert!(largest > 1e-3, "the loss does not depend on anything");
}

/// The trainable variables of `vs` with their names.
pub fn trainable(vs: &nn::VarStore) -> Vec<(String, Tensor)> {
    named(vs)
        .into_iter()
        .filter(|(_, variable)| variable.requires_grad())
        .collect()
}
