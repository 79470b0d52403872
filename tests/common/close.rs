//! How far two tensors are apart.

use tch::Tensor;

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
