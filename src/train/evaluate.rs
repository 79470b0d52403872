//! Likelihood of the images of a data set.

use super::finite::where_encoding_ends;
use super::log_probs::{Likelihood, LogProbs};
use super::noised::Noised;
use super::{Part, Team};
use crate::cuda::numbers;
use crate::data::{Dataset, Epoch};
use crate::flows::Cx;
use crate::models::MultiScale;
use crate::phase::{self, Phase};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use tch::{Device, Tensor};

/// What is added to the integer pixels before they are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dequantization {
    /// Uniform noise, one number a pixel, from the seed and the [image's index](crate::data::evaluation_noise): the bound
    /// on the likelihood of 8-bit images that is customary in the field.
    Uniform,
    /// One half: the same number in every implementation.
    Midpoint,
}

impl fmt::Display for Dequantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Midpoint => "midpoint",
        })
    }
}

impl FromStr for Dequantization {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "midpoint" => Ok(Self::Midpoint),
            _ => Err(Error::config(format!(
                "unknown dequantisation `{text}`: choose uniform or midpoint"
            ))),
        }
    }
}

impl Dequantization {
    /// Refuses a number of samples that is none, or that midpoints cannot be different in.
    ///
    /// # Errors
    /// Such a number.
    pub fn check_samples(self, samples: usize) -> Result<()> {
        match (self, samples) {
            (_, 0) => Err(Error::config(
                "0 samples of the noise are no likelihood: use --dequantize-samples 1 or more",
            )),
            (Self::Midpoint, 2..) => Err(Error::config(
                "the midpoint is always the same: leave --dequantize-samples out, or use --dequantize uniform",
            )),
            _ => Ok(()),
        }
    }
}

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation {
    /// Images at a time. Likelihoods of other batch sizes differ by rounding alone, if at all.
    pub batch_size: usize,
    /// What is added to the pixels.
    pub dequantize: Dequantization,
    /// Where uniform noise comes from.
    pub seed: u64,
    /// Where the model is.
    pub device: Device,
}

impl Evaluation {
    /// Mean negative log-likelihood of all images.
    ///
    /// # Errors
    /// No images, images of another shape than the model's, or what the model reports.
    pub fn likelihood(&self, model: &MultiScale, data: &Dataset) -> Result<Likelihood> {
        self.likelihood_in(&Team::alone(), model, data)
    }

    /// [`likelihood`](Self::likelihood), to the bit, by several processes that have a part of the batches each.
    ///
    /// # Errors
    /// As there, or the end of another process.
    pub fn likelihood_in(
        &self,
        team: &Team,
        model: &MultiScale,
        data: &Dataset,
    ) -> Result<Likelihood> {
        Ok(self.log_probs_in(team, model, data, 1)?.likelihood())
    }

    /// `log p(x + u_k)` of every image in the order of the data, for samples 0 to `samples - 1` of its noise: what
    /// [`likelihood`](Self::likelihood) is the mean of, for one sample.
    ///
    /// # Errors
    /// As [`likelihood`](Self::likelihood), or a number of samples that [cannot
    /// be](Dequantization::check_samples).
    pub fn log_probs(
        &self,
        model: &MultiScale,
        data: &Dataset,
        samples: usize,
    ) -> Result<LogProbs> {
        self.log_probs_in(&Team::alone(), model, data, samples)
    }

    /// [`log_probs`](Self::log_probs), to the bit, by several processes that have a part of the batches each.
    ///
    /// # Errors
    /// As there, or the end of another process.
    pub fn log_probs_in(
        &self,
        team: &Team,
        model: &MultiScale,
        data: &Dataset,
        samples: usize,
    ) -> Result<LogProbs> {
        self.dequantize.check_samples(samples)?;
        phase::enter(Phase::Likelihood);
        let mut values = vec![0.0; data.len() * samples];
        let mut waiting = Vec::with_capacity(samples);
        self.each_batch(team.part(), model, data, samples, |first, x, cx| {
            waiting.push(model.log_prob(x, cx)?);
            if waiting.len() < samples {
                return Ok(());
            }
            // the device is waited for once a batch
            let all = numbers(&waiting.iter().collect::<Vec<_>>())?;
            waiting.clear();
            let images = all.len() / samples;
            for (sample, of_sample) in all.chunks_exact(images.max(1)).enumerate() {
                for (i, log_prob) in of_sample.iter().enumerate() {
                    values[(first + i) * samples + sample] = *log_prob;
                }
            }
            Ok(())
        })?;
        // where one process has a number, the others have zeros
        team.sum_numbers(&mut values)?;
        Ok(LogProbs::new(values, samples, data.chw))
    }

    /// From where on the likelihood of image `index` is not finite, as the end of a sentence: the batch it was in is computed
    /// again, layer by layer, with every sample of its noise until one shows it.
    ///
    /// # Errors
    /// As [`likelihood`](Self::likelihood).
    pub fn where_not_finite(
        &self,
        model: &MultiScale,
        data: &Dataset,
        index: usize,
        log_probs: &LogProbs,
    ) -> Result<String> {
        let samples = log_probs.of_images().nth(index).unwrap_or_default();
        let sample = samples.iter().position(|value| !value.is_finite());
        let first = index - index % self.batch_size.max(1);
        let batch = first..(first + self.batch_size).min(data.len());
        let _guard = tch::no_grad_guard();
        let mut noised = self.noised(data, batch)?;
        let noise = noised.noise(sample.unwrap_or(0))?;
        let condition = model.condition(&noised.labels)?;
        let cx = Cx {
            noise: noise.as_ref(),
            condition: condition.as_ref(),
            ..Cx::default()
        };
        where_encoding_ends(model, &noised.x, cx)
    }

    /// Some images with their noise, on the device.
    fn noised(&self, data: &Dataset, images: Range<usize>) -> Result<Noised> {
        let seed = match self.dequantize {
            Dequantization::Uniform => Some(self.seed),
            Dequantization::Midpoint => None,
        };
        Noised::new(data, images, seed, self.device)
    }

    /// Calls `f` with the index of the first image and the images of every batch that is dealt to `part`, as floating point
    /// on the device, once for each sample of their noise in turn, without recording gradients.
    pub(super) fn each_batch(
        &self,
        part: Part,
        model: &MultiScale,
        data: &Dataset,
        samples: usize,
        mut f: impl FnMut(usize, &Tensor, Cx<'_>) -> Result<()>,
    ) -> Result<()> {
        if data.is_empty() {
            return Err(Error::config(format!("{} has no images", data.name)));
        }
        if data.chw != model.image_shape() {
            return Err(Error::config(format!(
                "{} has images of {:?}, the model is for {:?}: choose other --data",
                data.name,
                data.chw,
                model.image_shape()
            )));
        }
        let _guard = tch::no_grad_guard();
        let order = Epoch::eval(data.len(), self.batch_size)?;
        for (batch, indices) in order.batches().enumerate() {
            if !part.is_dealt(batch) {
                continue;
            }
            let first = batch * self.batch_size;
            let mut noised = self.noised(data, first..first + indices.len())?;
            let condition = model.condition(&noised.labels)?;
            for sample in 0..samples {
                let noise = noised.noise(sample)?;
                let cx = Cx {
                    noise: noise.as_ref(),
                    condition: condition.as_ref(),
                    ..Cx::default()
                };
                f(first, &noised.x, cx).map_err(|err| model.locate(err, cx))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_samples_that_cannot_be_are_refused() {
        let refused = |how: Dequantization, samples| {
            let err = how.check_samples(samples).unwrap_err().to_string();
            assert!(err.contains("--dequantize-samples"), "{err}");
        };
        refused(Dequantization::Uniform, 0);
        refused(Dequantization::Midpoint, 0);
        refused(Dequantization::Midpoint, 2);
        Dequantization::Midpoint.check_samples(1).unwrap();
        Dequantization::Uniform.check_samples(64).unwrap();
    }
}
