//! Seeded tensors, and how far two tensors are apart.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

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
