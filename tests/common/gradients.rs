//! Gradients against their definition, central differences.

use crate::device::device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

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

/// Directions, each of length 1, in which to look at a tensor like `variable`: up to 12 single entries. On a GPU, which the
/// host may emulate, it is one through all entries.
fn directions(variable: &Tensor, rng: &mut ChaCha8Rng) -> Vec<(String, Tensor)> {
    let count = variable.numel();
    let values: Vec<(String, Vec<f64>)> = if device().is_cuda() {
        let all: Vec<f64> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
        let length = all.iter().map(|value| value * value).sum::<f64>().sqrt();
        let unit = all.iter().map(|value| value / length).collect();
        vec![("all".into(), unit)]
    } else {
        let entries: Vec<usize> = if count <= 12 {
            (0..count).collect()
        } else {
            (0..12).map(|_| rng.random_range(0..count)).collect()
        };
        let one = |entry| (0..count).map(|at| f64::from(at == entry)).collect();
        let named = entries
            .into_iter()
            .map(|entry| (entry.to_string(), one(entry)));
        named.collect()
    };
    let tensor = |values: Vec<f64>| {
        let flat = Tensor::from_slice(&values).to_device(variable.device());
        flat.view_as(variable)
    };
    let named = values.into_iter();
    named.map(|(name, values)| (name, tensor(values))).collect()
}

/// Autograd's gradient of `loss` with respect to every tensor against differences, along some [`directions`]: central ones,
/// or those of the side without a kink.
///
/// Directions are chosen by seed; `variables` must be float64 leaves that require gradients.
#[track_caller]
pub fn assert_gradients(variables: &[(String, Tensor)], tol: f64, loss: impl Fn() -> Tensor) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let leaves: Vec<&Tensor> = variables.iter().map(|(_, variable)| variable).collect();
    let gradients = Tensor::run_backward(&[loss()], &leaves, false, false);
    let mut largest: f64 = 0.0;
    for ((name, variable), gradient) in variables.iter().zip(gradients) {
        for (along, direction) in directions(variable, &mut rng) {
            let at = |shift: f64| {
                tch::no_grad(|| {
                    let mut values = variable.shallow_clone();
                    let before = values.copy();
                    values.copy_(&(&before + shift * &direction));
                    let value = loss().double_value(&[]);
                    values.copy_(&before);
                    value
                })
            };
            const STEP: f64 = 1e-5;
            let exact = (gradient.reshape(direction.size()) * &direction).sum(Kind::Double);
            let exact = exact.double_value(&[]);
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
                "{name}[{along}]: gradient {exact}, central difference {centre}, from the left {left}, the right {right}"
            );
        }
    }
    assert!(largest > 1e-3, "the loss does not depend on anything");
}
