//! Gradients against their definition, central differences.

use crate::device::device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

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

/// Autograd's gradient of `loss` with respect to every tensor against differences, at up to 12 entries each (4 on a GPU,
/// which the host may emulate): central ones, or those of the side without a kink.
///
/// Entries are chosen by seed; `variables` must be float64 leaves that require gradients.
#[track_caller]
pub fn assert_gradients(variables: &[(String, Tensor)], tol: f64, loss: impl Fn() -> Tensor) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let leaves: Vec<&Tensor> = variables.iter().map(|(_, variable)| variable).collect();
    let gradients = Tensor::run_backward(&[loss()], &leaves, false, false);
    let mut largest: f64 = 0.0;
    let most = if device().is_cuda() { 4 } else { 12 };
    for ((name, variable), gradient) in variables.iter().zip(gradients) {
        let count = variable.numel() as i64;
        let entries: Vec<i64> = if count <= most {
            (0..count).collect()
        } else {
            (0..most).map(|_| rng.random_range(0..count)).collect()
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
