//! Likelihoods, image by image and their means.

use crate::distributions::{bits_per_dim, log_sum_exp};

/// Mean likelihood over a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Number of images.
    pub images: usize,
    /// Mean of `-log p(x)`, nats per image.
    pub nll_nats: f64,
    /// The same in bits per dimension.
    pub bpd: f64,
}

impl Likelihood {
    /// The mean of `log p` of images with `dimensions` values each.
    pub(super) fn of(log_probs: impl ExactSizeIterator<Item = f64>, dimensions: i64) -> Self {
        let images = log_probs.len();
        // one after the other, whoever has computed them
        let nll_nats = log_probs.fold(0.0, |nll, log_prob| nll - log_prob) / images as f64;
        Self {
            images,
            nll_nats,
            bpd: bits_per_dim(nll_nats, dimensions),
        }
    }
}

/// `log p(x + u)` of images, in nats, each with one or more samples `u` of its noise.
#[derive(Debug, Clone, PartialEq)]
pub struct LogProbs {
    /// Image by image, sample after sample.
    values: Vec<f64>,
    samples: usize,
    dimensions: i64,
}

impl LogProbs {
    /// Numbers image by image, `samples` of each, of images of this size.
    pub(super) fn new(values: Vec<f64>, samples: usize, chw: [i64; 3]) -> Self {
        Self {
            values,
            samples,
            dimensions: chw.iter().product(),
        }
    }

    /// Images that have them.
    pub fn len(&self) -> usize {
        self.values.len() / self.samples
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values of an image, `C * H * W`.
    pub fn dimensions(&self) -> i64 {
        self.dimensions
    }

    /// The samples of every image.
    pub fn of_images(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.samples)
    }

    /// For every image the mean over its samples.
    pub fn means(&self) -> Vec<f64> {
        let mean = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len() as f64;
        self.of_images().map(mean).collect()
    }

    /// For every image `log 1/K Σ_k p(x + u_k)`, which is at least [the mean](Self::means) and on average at most the
    /// likelihood of the integer pixels (Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016,
    /// <https://arxiv.org/abs/1509.00519>).
    pub fn importance_weighted(&self) -> Vec<f64> {
        self.of_images().map(log_mean_exp).collect()
    }

    /// The mean over all images and samples.
    pub fn likelihood(&self) -> Likelihood {
        Likelihood::of(self.means().into_iter(), self.dimensions)
    }

    /// The mean of the [importance-weighted bound](Self::importance_weighted).
    pub fn importance_weighted_likelihood(&self) -> Likelihood {
        Likelihood::of(self.importance_weighted().into_iter(), self.dimensions)
    }

    /// The likelihood of those images whose numbers are all finite; none if there is no such image.
    pub fn likelihood_of_finite(&self) -> Option<Likelihood> {
        let bad = self.not_finite();
        let means = self.means().into_iter().enumerate();
        let finite: Vec<f64> = means
            .filter(|(i, _)| bad.binary_search(i).is_err())
            .map(|(_, mean)| mean)
            .collect();
        (!finite.is_empty()).then(|| Likelihood::of(finite.into_iter(), self.dimensions))
    }

    /// The indices of the images with a number that is not finite.
    pub fn not_finite(&self) -> Vec<usize> {
        let bad = |samples: &[f64]| samples.iter().any(|value| !value.is_finite());
        let images = self.of_images().enumerate();
        images.filter(|(_, s)| bad(s)).map(|(i, _)| i).collect()
    }
}

/// `log 1/K Σ exp`, exactly the number itself for K = 1.
fn log_mean_exp(numbers: &[f64]) -> f64 {
    log_sum_exp(numbers) - (numbers.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_probs(values: &[f64], samples: usize) -> LogProbs {
        LogProbs::new(values.to_vec(), samples, [1, 2, 2])
    }

    #[test]
    fn the_bound_of_one_sample_is_the_number_itself_and_of_more_at_least_their_mean() {
        let one = log_probs(&[-1e4 / 3.0, -2e4 / 3.0], 1);
        assert_eq!(one.importance_weighted(), one.values);
        assert_eq!(one.means(), one.values);
        let two = log_probs(&[-1000.0, -1000.0 + 3f64.ln(), -2000.0, -2000.0], 2);
        let bound = two.importance_weighted();
        assert!((bound[0] - (-1000.0 + 2f64.ln())).abs() < 1e-9, "{bound:?}");
        assert_eq!(bound[1], -2000.0);
        let (mean, bound) = (two.likelihood(), two.importance_weighted_likelihood());
        assert!(bound.nll_nats < mean.nll_nats && bound.bpd < mean.bpd);
        assert_eq!((mean.images, bound.images), (2, 2));
    }

    #[test]
    fn what_is_not_finite_is_found_and_not_averaged_away() {
        let all = log_probs(&[-1.0, -3.0, f64::NAN, -1.0, -2.0, f64::NEG_INFINITY], 2);
        assert_eq!(all.not_finite(), [1, 2]);
        assert!(!all.likelihood().nll_nats.is_finite());
        let bound = all.importance_weighted();
        assert!(
            bound[1].is_nan() && bound[2] == -2.0 - 2f64.ln(),
            "{bound:?}"
        );
        let finite = all.likelihood_of_finite().unwrap();
        assert_eq!((finite.images, finite.nll_nats), (1, 2.0));
        assert_eq!(log_probs(&[f64::NAN], 1).likelihood_of_finite(), None);
        assert_eq!(log_mean_exp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
    }
}
