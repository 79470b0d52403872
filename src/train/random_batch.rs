//! A batch of random images, for measurements.

use super::Given;
use crate::data::uniform_noise;
use crate::flows::Cx;
use crate::models::MultiScale;
use crate::Result;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// Random images of all classes in turn.
#[derive(Debug)]
pub(crate) struct RandomBatch {
    /// `[images, C, H, W]`.
    pub x: Tensor,
    /// Their noise.
    pub noise: Tensor,
    /// Their classes, for a conditional model.
    pub condition: Option<Tensor>,
}

impl RandomBatch {
    /// What a step is given beside the images.
    pub fn given(&self) -> Given<'_> {
        Given {
            noise: &self.noise,
            condition: self.condition.as_ref(),
        }
    }

    /// What a call of the model is given beside the images.
    pub fn cx(&self) -> Cx<'_> {
        Cx {
            noise: Some(&self.noise),
            condition: self.condition.as_ref(),
            ..Cx::default()
        }
    }
}

/// A batch from which the layers of `model` have taken their statistics.
///
/// # Errors
/// What the model reports, not enough memory among it.
pub(crate) fn initialize_at_random(
    model: &mut MultiScale,
    images: i64,
    rng: &mut ChaCha8Rng,
    device: Device,
) -> Result<RandomBatch> {
    let [c, h, w] = model.image_shape();
    let mut random = || uniform_noise(rng, &[images, c, h, w], Kind::Float, device);
    let batch = RandomBatch {
        x: random()?.f_mul_scalar(256.0)?.f_floor()?,
        noise: random()?,
        condition: classes_in_turn(model, images)?,
    };
    tch::no_grad(|| model.initialize(&batch.x, batch.cx()))?;
    Ok(batch)
}

/// What a conditional model is told of so many images; nothing for another one.
///
/// # Errors
/// Not enough memory.
pub(crate) fn classes_in_turn(model: &MultiScale, images: i64) -> Result<Option<Tensor>> {
    let Some(classes) = model.classes() else {
        return Ok(None);
    };
    let names = classes.names.len() as i64;
    let labels: Vec<u16> = (0..images).map(|i| (i % names) as u16).collect();
    model.condition(&labels)
}
