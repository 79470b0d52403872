//! Likelihood and invertibility of a model on a data set.

use super::feed::to_float;
use super::{prior_latents, sampling::narrow_latents, Part, Team};
use crate::cuda::{check, numbers};
use crate::data::{stream, uniform_noise, Dataset, Epoch, Purpose};
use crate::distributions::bits_per_dim;
use crate::flows::Cx;
use crate::models::MultiScale;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tch::{Device, Kind, Tensor};

/// Errors of pixels are given as a part of their range.
const PIXEL_RANGE: f64 = 256.0;

/// The largest float32 number below the end of the pixel range.
const LARGEST_PIXEL: f64 = 256.0 - 1.0 / 65_536.0;

/// What is added to the integer pixels before they are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dequantization {
    /// Uniform noise from the seed, one sample per pixel: the bound on the likelihood of 8-bit images that is
    /// customary in the field.
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

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation {
    /// Images at a time; part of what uniform noise depends on.
    pub batch_size: usize,
    /// What is added to the pixels.
    pub dequantize: Dequantization,
    /// Where uniform noise comes from.
    pub seed: u64,
    /// Where the model is.
    pub device: Device,
}

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

/// What encoding and decoding does to images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundTrip {
    /// Images of the data.
    pub data: RoundTripErrors,
    /// As many images that the model draws itself, which need not look like data. (Their latents are no measure: where
    /// a pixel saturates, no float32 image tells which latent it came from. A sample with many such pixels is another
    /// image once they are cut off at black and white, and a model may take that one to latents of any size.)
    pub samples: RoundTripErrors,
}

/// `max |decode(encode(x)) - x|` of every image, as a part of the pixel range; infinite if it is not a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundTripErrors {
    /// Of the middle one of the images.
    pub median: f64,
    /// Of the worst one.
    pub largest: f64,
    /// Part of the images whose pixels all come back within half a grey level.
    pub within_half_a_level: f64,
}

impl RoundTripErrors {
    /// The summary of the errors of images, in grey levels; there must be one.
    fn of(mut levels: Vec<f64>) -> Self {
        levels.sort_by(f64::total_cmp);
        let within = levels.iter().filter(|error| **error <= 0.5).count();
        Self {
            median: levels[(levels.len() - 1) / 2] / PIXEL_RANGE,
            largest: levels[levels.len() - 1] / PIXEL_RANGE,
            within_half_a_level: within as f64 / levels.len() as f64,
        }
    }
}

/// Images and what becomes of them by encoding and decoding.
#[derive(Debug)]
pub struct Reconstruction {
    /// `[N, C, H, W]`, the dequantised images.
    pub originals: Tensor,
    /// `[N, C, H, W]`, decoded.
    pub decoded: Tensor,
    /// Largest absolute difference, as a part of the pixel range.
    pub max_abs: f64,
    /// Pixels whose 8-bit values differ.
    pub pixels_that_differ: i64,
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
        let mut sums = vec![0.0; data.len().div_ceil(self.batch_size.max(1))];
        self.each_batch(team.part(), model, data, |batch, x, cx| {
            let log_prob = model.log_prob(x, cx)?;
            sums[batch] = numbers(&[&log_prob.f_sum(Kind::Double)?])?[0];
            Ok(())
        })?;
        team.sum_numbers(&mut sums)?;
        // one after the other, whoever has computed them
        let nll = sums.iter().fold(0.0, |nll, sum| nll - sum);
        let nll_nats = nll / data.len() as f64;
        Ok(Likelihood {
            images: data.len(),
            nll_nats,
            bpd: bits_per_dim(nll_nats, data.chw.iter().product()),
        })
    }

    /// Decoded latents of all images, on the CPU.
    ///
    /// # Errors
    /// As [`likelihood`](Self::likelihood).
    pub fn reconstruct(&self, model: &MultiScale, data: &Dataset) -> Result<Reconstruction> {
        let (mut originals, mut decoded) = (Vec::new(), Vec::new());
        self.each_batch(Part::WHOLE, model, data, |_, x, cx| {
            originals.push(dequantised(x, cx)?.f_to_device(Device::Cpu)?);
            let value = model.decode(&model.encode(x, cx)?.latents, cx)?.value;
            decoded.push(value.f_to_device(Device::Cpu)?);
            Ok(())
        })?;
        check(self.device).map_err(|err| model.locate(err, Cx::default()))?;
        let (originals, decoded) = (Tensor::f_cat(&originals, 0)?, Tensor::f_cat(&decoded, 0)?);
        let differ = originals.f_floor()?.f_ne_tensor(&decoded.f_floor()?)?;
        Ok(Reconstruction {
            max_abs: RoundTripErrors::of(errors(&decoded, &originals)?).largest,
            pixels_that_differ: differ.f_sum(Kind::Int64)?.f_int64_value(&[])?,
            originals,
            decoded,
        })
    }

    /// How far decoding is from undoing encoding. Errors that are not finite count as infinite.
    ///
    /// # Errors
    /// As [`likelihood`](Self::likelihood).
    pub fn round_trip(&self, model: &MultiScale, data: &Dataset) -> Result<RoundTrip> {
        self.round_trip_in(&Team::alone(), model, data)
    }

    /// [`round_trip`](Self::round_trip), to the bit, by several processes that have a part of the batches each.
    ///
    /// # Errors
    /// As there, or the end of another process.
    pub fn round_trip_in(
        &self,
        team: &Team,
        model: &MultiScale,
        data: &Dataset,
    ) -> Result<RoundTrip> {
        let mut of_data = vec![0.0; data.len()];
        self.each_batch(team.part(), model, data, |batch, x, cx| {
            let decoded = model.decode(&model.encode(x, cx)?.latents, cx)?.value;
            self.keep(
                &mut of_data,
                batch,
                &errors(&decoded, &dequantised(x, cx)?)?,
            );
            Ok(())
        })?;
        let mut of_samples = self
            .samples_round_trip(team.part(), model, data.len())
            .map_err(|err| model.locate(err, Cx::default()))?;
        team.sum_numbers(&mut of_data)?;
        team.sum_numbers(&mut of_samples)?;
        Ok(RoundTrip {
            data: RoundTripErrors::of(of_data),
            samples: RoundTripErrors::of(of_samples),
        })
    }

    /// Puts the errors of a batch to those of all images.
    fn keep(&self, all: &mut [f64], batch: usize, errors: &[f64]) {
        let start = batch * self.batch_size;
        all[start..start + errors.len()].copy_from_slice(errors);
    }

    /// The errors of `count` images of the model, 0 for those of other parts.
    fn samples_round_trip(&self, part: Part, model: &MultiScale, count: usize) -> Result<Vec<f64>> {
        let _guard = tch::no_grad_guard();
        let latents = prior_latents(model, count as i64, self.seed, self.device)?;
        let mut all = vec![0.0; count];
        for (batch, start) in (0..count).step_by(self.batch_size).enumerate() {
            if !part.is_dealt(batch) {
                continue;
            }
            let length = self.batch_size.min(count - start);
            let latents = narrow_latents(&latents, start as i64, length as i64)?;
            // rounding may put a saturated pixel on or beyond the ends of the range
            let image = model
                .decode(&latents, Cx::default())?
                .value
                .f_clamp(0.0, LARGEST_PIXEL)?;
            // a continuous image is its own integer part and noise
            let floor = image.f_floor()?;
            let noise = image.f_sub(&floor)?;
            let cx = Cx {
                noise: Some(&noise),
                ..Cx::default()
            };
            let again = model.decode(&model.encode(&floor, cx)?.latents, cx)?.value;
            self.keep(&mut all, batch, &errors(&again, &image)?);
        }
        Ok(all)
    }

    /// Calls `f` with the number and the images of every batch that is dealt to `part`, as floating point on the device,
    /// without recording gradients.
    fn each_batch(
        &self,
        part: Part,
        model: &MultiScale,
        data: &Dataset,
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
        for (index, indices) in order.batches().enumerate() {
            if !part.is_dealt(index) {
                continue;
            }
            let x = to_float(&data.batch(indices)?, self.device)?;
            let noise = match self.dequantize {
                Dequantization::Midpoint => None,
                Dequantization::Uniform => {
                    let mut rng = stream(self.seed, Purpose::EvalNoise, index as u64);
                    Some(uniform_noise(
                        &mut rng,
                        &x.size(),
                        Kind::Float,
                        self.device,
                    )?)
                }
            };
            let cx = Cx {
                noise: noise.as_ref(),
                ..Cx::default()
            };
            f(index, &x, cx).map_err(|err| model.locate(err, cx))?;
        }
        Ok(())
    }
}

/// What `encode` makes of integer pixels before anything else.
fn dequantised(x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
    Ok(match cx.noise {
        Some(noise) => x.f_add(noise)?,
        None => x.f_add_scalar(0.5)?,
    })
}

/// The largest difference of every image; what is not a number counts as infinite.
fn errors(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    let apart = a.f_sub(b)?.f_abs()?.f_amax([1, 2, 3], false)?;
    let mut all = numbers(&[&apart])?;
    for error in all.iter_mut().filter(|error| error.is_nan()) {
        *error = f64::INFINITY;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_lost_does_not_hide_the_others() {
        let x = Tensor::zeros([4, 1, 2, 2], (Kind::Float, Device::Cpu));
        let y = x.copy();
        let _ = y.get(0).fill_(0.25);
        let _ = y.get(1).fill_(f64::NAN);
        let _ = y.get(2).get(0).get(1).fill_(-256.0);
        let all = errors(&y, &x).unwrap();
        assert_eq!(all, [0.25, f64::INFINITY, 256.0, 0.0]);
        let summary = RoundTripErrors::of(all);
        assert_eq!(summary.median, 0.25 / 256.0);
        assert_eq!(summary.largest, f64::INFINITY);
        assert_eq!(summary.within_half_a_level, 0.5);
    }
}
