//! Densities: the standard normal base, priors that are learned, and likelihood in bits per dimension.
//!
//! ```text
//! log N(z; 0, I) = -(|z|² + D ln 2π) / 2                                    standard_normal_log_prob
//! log p(x2 | x1) = log N(z2; 0, I) + log|det ∂z2/∂x2|,   z2 = s(x1) x2 + t(x1)   SplitPrior
//! log p(z)       = log N((z - mean) / std; 0, I) - Σ log std                        LearnedPrior
//! bits per dimension = -log p(x) / (D ln 2)                                 bits_per_dim
//! ```
//!
//! D is the number of elements of a sample; every log is in nats, one number for each sample `[N]`.

mod learned_prior;
mod normal;
mod sequential;
mod split_prior;

pub use learned_prior::LearnedPrior;
pub use normal::standard_normal_log_prob;
pub(crate) use normal::{check_temperature, standard_normal};
pub use split_prior::{Split, SplitPrior};

use std::f64::consts::LN_2;

/// Bits per dimension of a negative log-likelihood of `nll_nats` nats over `dims` dimensions: `nll / (dims ln 2)`.
///
/// The likelihood is that of the pixels 0..=255: the `dims ln 256` of the scaling to `[0, 1)` is part of the log-det
/// of [`Scale`](crate::flows::Scale) and is not added again.
pub fn bits_per_dim(nll_nats: f64, dims: i64) -> f64 {
    nll_nats / (dims as f64 * LN_2)
}

/// `log sum exp` of numbers, of which the largest is taken out so that none overflows; NaN if one is.
pub(crate) fn log_sum_exp(numbers: &[f64]) -> f64 {
    if numbers.iter().any(|number| number.is_nan()) {
        return f64::NAN;
    }
    let largest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    let sum: f64 = numbers.iter().map(|number| (number - largest).exp()).sum();
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_density_over_256_values_costs_8_bits() {
        let dims = 3 * 5 * 7;
        let nll = f64::from(dims) * 256f64.ln();
        assert!((bits_per_dim(nll, i64::from(dims)) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn large_numbers_do_not_overflow_and_what_is_not_finite_shows() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
        assert_eq!(log_sum_exp(&[-1e4 / 3.0]), -1e4 / 3.0);
        assert_eq!(log_sum_exp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[0.0, f64::INFINITY]), f64::INFINITY);
        assert!(log_sum_exp(&[f64::NAN, f64::INFINITY]).is_nan());
    }
}
