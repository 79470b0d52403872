//! A batch of random images, for measurements.

use crate::data::uniform_noise;
use crate::flows::Cx;
use crate::models::MultiScale;
use crate::Result;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// Random images, `[images, C, H, W]`, and their noise; the layers of `model` have taken their statistics from them.
///
/// # Errors
/// What the model reports, not enough memory among it.
pub(crate) fn initialize_at_random(
    model: &mut MultiScale,
    images: i64,
    rng: &mut ChaCha8Rng,
    device: Device,
) -> Result<(Tensor, Tensor)> {
    let [c, h, w] = model.image_shape();
    let mut random = || uniform_noise(rng, &[images, c, h, w], Kind::Float, device);
    let (x, noise) = (random()?.f_mul_scalar(256.0)?.f_floor()?, random()?);
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    tch::no_grad(|| model.initialize(&x, cx))?;
    Ok((x, noise))
}
