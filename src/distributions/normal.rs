//! The base density.

use crate::flows::sum_per_sample;
use crate::Result;
use std::f64::consts::PI;
use tch::Tensor;

/// `log N(z; 0, I)` of every sample, nats: `-(|z|^2 + D ln 2 pi) / 2`.
///
/// # Shapes
/// `[N, ...]` → `[N]`, `D` the number of elements of a sample.
///
/// # Errors
/// What libtorch reports.
pub fn standard_normal_log_prob(z: &Tensor) -> Result<Tensor> {
    let dims: i64 = z.size().iter().skip(1).product();
    let constant = -0.5 * dims as f64 * (2.0 * PI).ln();
    Ok(sum_per_sample(&z.f_square()?)
        .f_mul_scalar(-0.5)?
        .f_add_scalar(constant)?)
}
