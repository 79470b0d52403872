//! Jacobians by reverse-mode differentiation.

use tch::Tensor;

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
