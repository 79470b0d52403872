//! The definition in plain tensor operations: the twin of the kernels.

use super::raw::{EffectiveFilter, RawFilter};
use crate::Result;
use tch::{Kind, Tensor};

/// One of [`effective_filters`](super::effective_filters).
///
/// # Errors
/// What libtorch reports.
pub fn effective_filter(raw: &RawFilter<'_>) -> Result<EffectiveFilter> {
    let RawFilter {
        theta,
        mask,
        identity,
        ..
    } = *raw;
    let (diagonal, log_diagonal) = if raw.learnable {
        // exp only sees the diagonal: a large tap elsewhere must not become inf * 0
        let log_diagonal = theta.f_mul(identity)?;
        let sum = log_diagonal.f_sum(None::<Kind>)?;
        (log_diagonal.f_exp()?.f_mul(identity)?, Some(sum))
    } else {
        (identity.shallow_clone(), None)
    };
    let weight = match raw.bound {
        None => diagonal.f_addcmul(mask, theta)?,
        Some(bound) => {
            let taps = theta.f_mul(mask)?;
            let of_output =
                |terms: &Tensor| terms.f_sum_dim_intlist(&[1_i64, 2, 3][..], true, None::<Kind>);
            let limit = of_output(&diagonal)?.f_mul_scalar(bound)?;
            let ratio = of_output(&taps.f_abs()?)?.f_div(&limit)?;
            // hypot does not overflow where a square would
            let scale = ratio.f_ones_like()?.f_hypot(&ratio)?;
            diagonal.f_add(&taps.f_div(&scale)?)?
        }
    };
    Ok(EffectiveFilter {
        weight,
        log_diagonal,
    })
}
