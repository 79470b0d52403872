//! The latents of the images of a data set.

use super::{Evaluation, Part};
use crate::cuda::check;
use crate::data::Dataset;
use crate::distributions::standard_normal_log_prob;
use crate::flows::Cx;
use crate::models::{Encoded, Latents, MultiScale};
use crate::Result;
use tch::{Device, Kind, Tensor};

/// Latents of images and what the images are worth, on the CPU.
#[derive(Debug)]
pub struct EncodedImages {
    /// The latents, level by level.
    pub latents: Latents,
    /// `log p(x)` of the dequantised images, nats, `[N]` of float64.
    pub log_prob: Tensor,
}

impl Evaluation {
    /// The latents of all images, in the order of the data; with uniform noise, that of the first sample of an evaluation.
    ///
    /// # Errors
    /// As [`likelihood`](Self::likelihood).
    pub fn encode(&self, model: &MultiScale, data: &Dataset) -> Result<EncodedImages> {
        let mut levels: Vec<Vec<Tensor>> = Vec::new();
        levels.resize_with(model.latent_shapes().len(), Vec::new);
        let mut log_probs = Vec::new();
        self.each_batch(Part::WHOLE, model, data, 1, |_, x, cx| {
            let Encoded { latents, log_det } = model.encode(x, cx)?;
            let mut log_prob = log_det;
            for (level, latent) in levels.iter_mut().zip(latents.0) {
                log_prob = log_prob.f_add(&standard_normal_log_prob(&latent)?)?;
                level.push(latent.f_to_device(Device::Cpu)?);
            }
            log_probs.push(log_prob.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?);
            Ok(())
        })?;
        check(self.device).map_err(|err| model.locate(err, Cx::default()))?;
        let latents = levels.iter().map(|parts| Tensor::f_cat(parts, 0));
        Ok(EncodedImages {
            latents: Latents(latents.collect::<Result<_, _>>()?),
            log_prob: Tensor::f_cat(&log_probs, 0)?,
        })
    }
}
