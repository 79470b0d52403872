//! What a conditional model says about images whose class is not told.

use super::{Evaluation, Likelihood, Team};
use crate::cuda::numbers;
use crate::data::Dataset;
use crate::distributions::log_sum_exp;
use crate::flows::Cx;
use crate::models::{Classes, MultiScale};
use crate::{Error, Result};
use tch::Tensor;

/// Likelihood with the class unknown, and how often the most likely class is the right one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassLikelihood {
    /// Of `p(x) = sum over classes of p(y) p(x | y)`, where `p(y)` is the part of the training images that are of class y.
    pub unknown: Likelihood,
    /// Images whose likelihood is not finite.
    pub not_finite: usize,
    /// Part of the images whose class has the largest `p(y) p(x | y)`.
    pub accuracy: f64,
}

impl Evaluation {
    /// Mean likelihood with the class unknown, and the accuracy of the most likely class. Every image is seen once for each
    /// class, with the same noise.
    ///
    /// # Errors
    /// A model without classes; as [`likelihood`](Self::likelihood).
    pub fn class_likelihood(&self, model: &MultiScale, data: &Dataset) -> Result<ClassLikelihood> {
        self.class_likelihood_in(&Team::alone(), model, data)
    }

    /// [`class_likelihood`](Self::class_likelihood), to the bit, by several processes that have a part of the batches each.
    ///
    /// # Errors
    /// As there, or the end of another process.
    pub fn class_likelihood_in(
        &self,
        team: &Team,
        model: &MultiScale,
        data: &Dataset,
    ) -> Result<ClassLikelihood> {
        let Some(classes) = model.classes() else {
            return Err(Error::config(
                "the model is not conditional on a class: train it with --conditional",
            ));
        };
        let count = classes.names.len();
        // log p(x | y), image by image
        let mut all = vec![0.0; data.len() * count];
        self.each_batch(team.part(), model, data, 1, |first, x, cx| {
            let images = x.size()[0] as usize;
            let each = (0..count as u16).map(|label| {
                let condition = model.condition(&vec![label; images])?;
                let condition = condition.as_ref();
                model.log_prob(x, Cx { condition, ..cx })
            });
            let each = Tensor::f_stack(&each.collect::<Result<Vec<_>>>()?, 1)?;
            all[first * count..(first + images) * count].copy_from_slice(&numbers(&[&each])?);
            Ok(())
        })?;
        team.sum_numbers(&mut all)?;
        Ok(summed_up(classes, data, &all))
    }
}

/// The summary of `log p(x | y)`, image by image.
fn summed_up(classes: &Classes, data: &Dataset, all: &[f64]) -> ClassLikelihood {
    let prior = classes.log_prior();
    let (mut log_probs, mut right) = (Vec::with_capacity(data.len()), 0usize);
    for (of_image, &label) in all.chunks_exact(prior.len()).zip(&data.labels) {
        let joint: Vec<f64> = of_image.iter().zip(&prior).map(|(a, b)| a + b).collect();
        let best = (0..joint.len()).max_by(|a, b| joint[*a].total_cmp(&joint[*b]));
        right += usize::from(best == Some(label.into()));
        log_probs.push(log_sum_exp(&joint));
    }
    let finite = log_probs.iter().filter(|log_prob| log_prob.is_finite());
    ClassLikelihood {
        not_finite: log_probs.len() - finite.count(),
        unknown: Likelihood::of(log_probs.into_iter(), data.chw.iter().product()),
        accuracy: right as f64 / data.len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_summed_out_with_its_part_of_the_training_images() {
        let classes = Classes {
            images: vec![3, 1, 0],
            ..Classes::alike(["a", "b", "c"])
        };
        let data = Dataset::new("test", [1, 1, 1], vec![0; 3], vec![0, 1, 0]).unwrap();
        let ln = f64::ln;
        let all = [
            [ln(0.2), ln(0.4), ln(0.9)], // 0.15 against 0.1: a, right
            [ln(0.1), ln(0.4), ln(0.1)], // 0.075 against 0.1: b, right
            [ln(0.1), ln(0.4), ln(0.1)], // b, wrong
        ];
        let found = summed_up(&classes, &data, all.as_flattened());
        assert!((found.accuracy - 2.0 / 3.0).abs() < 1e-15);
        let expected = -(ln(0.25) + 2.0 * ln(0.175)) / 3.0;
        assert!((found.unknown.nll_nats - expected).abs() < 1e-12);
        assert_eq!(found.not_finite, 0);

        // what is not finite for a class that an image is not of
        let mut all = all;
        all[0][1] = f64::NAN;
        all[2] = [f64::NEG_INFINITY; 3];
        let found = summed_up(&classes, &data, all.as_flattened());
        assert_eq!(found.not_finite, 2);
        assert!(!found.unknown.nll_nats.is_finite());
    }
}
