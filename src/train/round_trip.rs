//! How far decoding is from undoing encoding, on data and on samples of the model.

use super::evaluate::Evaluation;
use super::{prior_latents, row_label, sampling::narrow_latents, Part, Team};
use crate::cuda::{check, numbers};
use crate::data::Dataset;
use crate::flows::{to_range, Cx, Dequantize, Transform};
use crate::models::MultiScale;
use crate::{Error, Result};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

/// Errors of pixels are given as a part of their range.
const PIXEL_RANGE: f64 = 256.0;

/// What encoding and decoding does to images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RoundTrip {
    /// Images of the data.
    pub data: RoundTripErrors,
    /// As many images that the model draws itself, which need not look like data. (Their latents are no measure: where
    /// a pixel saturates, no float32 image tells which latent it came from. A sample with many such pixels is another
    /// image once they are cut off at black and white, and a model may take that one to latents of any size.)
    pub samples: RoundTripErrors,
}

/// `max |decode(encode(x)) - x|` of every image, as a part of the pixel range; infinite if it is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RoundTripErrors {
    /// Of the middle one of the images.
    pub median: f64,
    /// Of the worst one.
    pub largest: f64,
    /// Part of the images whose pixels all come back within half a grey level.
    pub within_half_a_level: f64,
    /// Images that come back with a pixel that is not finite.
    pub not_finite: usize,
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
            not_finite: levels.iter().filter(|error| error.is_infinite()).count(),
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
    /// Pixels whose values differ, in the bits that the model is a density of.
    pub pixels_that_differ: i64,
}

impl Evaluation {
    /// Decoded latents of all images, on the CPU.
    ///
    /// # Errors
    /// As [`likelihood`](Self::likelihood).
    pub fn reconstruct(&self, model: &MultiScale, data: &Dataset) -> Result<Reconstruction> {
        let (mut originals, mut decoded) = (Vec::new(), Vec::new());
        self.each_batch(Part::WHOLE, model, data, 1, |_, x, cx| {
            originals.push(dequantised(model, x, cx)?.f_to_device(Device::Cpu)?);
            let value = model.decode(&model.encode(x, cx)?.latents, cx)?.value;
            decoded.push(value.f_to_device(Device::Cpu)?);
            Ok(())
        })?;
        check(self.device).map_err(|err| model.locate(err, Cx::default()))?;
        let (originals, decoded) = (Tensor::f_cat(&originals, 0)?, Tensor::f_cat(&decoded, 0)?);
        let pixels = |images| Ok::<_, Error>(model.bits().split(images)?.0);
        let differ = pixels(&originals)?.f_ne_tensor(&pixels(&decoded)?)?;
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
        self.each_batch(team.part(), model, data, 1, |first, x, cx| {
            let decoded = model.decode(&model.encode(x, cx)?.latents, cx)?.value;
            keep(
                &mut of_data,
                first,
                &errors(&decoded, &dequantised(model, x, cx)?)?,
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

    /// The errors of `count` images of the model, 0 for those of other parts.
    fn samples_round_trip(&self, part: Part, model: &MultiScale, count: usize) -> Result<Vec<f64>> {
        let _guard = tch::no_grad_guard();
        let latents = prior_latents(model, count as i64, self.seed, self.device)?;
        let labels: Vec<u16> = (0..count).map(|i| row_label(model, count, i)).collect();
        let mut all = vec![0.0; count];
        for (batch, start) in (0..count).step_by(self.batch_size).enumerate() {
            if !part.is_dealt(batch) {
                continue;
            }
            let length = self.batch_size.min(count - start);
            let latents = narrow_latents(&latents, start as i64, length as i64)?;
            let condition = model.condition(&labels[start..start + length])?;
            let cx = Cx {
                condition: condition.as_ref(),
                ..Cx::default()
            };
            // rounding may put a saturated pixel on or beyond the ends of the range
            let image = to_range(&model.decode(&latents, cx)?.value)?;
            // a continuous image is its own pixels and noise
            let (pixels, noise) = model.bits().split(&image)?;
            let cx = Cx {
                noise: Some(&noise),
                ..cx
            };
            let again = model.decode(&model.encode(&pixels, cx)?.latents, cx)?.value;
            keep(&mut all, start, &errors(&again, &image)?);
        }
        Ok(all)
    }
}

/// What `encode` makes of integer pixels before anything else.
fn dequantised(model: &MultiScale, x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
    Ok(Dequantize::new(model.bits()).forward(x, cx)?.value)
}

/// Puts the errors of some images to those of all.
fn keep(all: &mut [f64], start: usize, errors: &[f64]) {
    all[start..start + errors.len()].copy_from_slice(errors);
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
        assert_eq!(summary.not_finite, 1);
    }
}
