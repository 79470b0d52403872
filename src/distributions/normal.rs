//! The base density: its logarithm, and draws from it.

use crate::flows::sum_per_sample;
use crate::{Error, Result};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

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
    Ok(sum_per_sample(&z.f_square()?)?
        .f_mul_scalar(-0.5)?
        .f_add_scalar(constant)?)
}

/// `n` latents `[n, C, H, W]` from `N(0, temperature² I)`, drawn from libtorch's global generator.
pub(crate) fn standard_normal(
    n: i64,
    [c, h, w]: [i64; 3],
    temperature: f64,
    options: (Kind, Device),
) -> Result<Tensor> {
    check_temperature(temperature)?;
    if n < 0 {
        let why = format!("must be a number from 0 on, got {n}");
        return Err(Error::argument("sample", "n", why));
    }
    Ok(Tensor::f_randn([n, c, h, w], options)?.f_mul_scalar(temperature)?)
}

/// Refuses what no prior can be scaled by.
pub(crate) fn check_temperature(temperature: f64) -> Result<()> {
    if temperature >= 0.0 && temperature.is_finite() {
        return Ok(());
    }
    let why = format!("must be a number from 0 on, got {temperature}");
    Err(Error::argument("sample", "temperature", why))
}
