//! Images from a model, and latents to draw them from.

use super::Team;
use crate::cuda::check;
use crate::data::{standard_normal, stream, Purpose};
use crate::flows::{to_range, Cx};
use crate::models::{Latents, MultiScale};
use crate::Result;
use tch::{Device, Kind, Tensor};

/// Standard normal latents of `count` images, a function of the seed alone.
///
/// # Errors
/// A device that is not there.
pub fn prior_latents(model: &MultiScale, count: i64, seed: u64, device: Device) -> Result<Latents> {
    let shapes = model.latent_shapes().into_iter().enumerate();
    let latents = shapes.map(|(level, [c, h, w])| {
        // a stream per level: image i of a smaller count is image i of a larger one
        let mut rng = stream(seed, Purpose::Latent, level as u64);
        standard_normal(&mut rng, &[count, c, h, w], Kind::Float, device)
    });
    Ok(Latents(latents.collect::<Result<_>>()?))
}

/// Images `[count, C, H, W]` with values in `[0, 256)`, on the CPU, decoded `batch` at a time from
/// [`prior_latents`] times `temperature`.
///
/// At temperature 1 they follow the model's own distribution; below 1 they are closer to its mode (Kingma and
/// Dhariwal, Glow, 2018, <https://arxiv.org/abs/1807.03039>, section 6).
///
/// # Errors
/// A temperature that is negative or not finite, or what the model reports.
pub fn sample(
    model: &MultiScale,
    count: i64,
    temperature: f64,
    seed: u64,
    device: Device,
    batch: i64,
) -> Result<Tensor> {
    sample_in(
        &Team::alone(),
        model,
        count,
        temperature,
        seed,
        device,
        batch,
    )
}

/// [`sample`], the same images, by several processes that have a part of the batches each.
///
/// # Errors
/// As there, or the end of another process.
pub fn sample_in(
    team: &Team,
    model: &MultiScale,
    count: i64,
    temperature: f64,
    seed: u64,
    device: Device,
    batch: i64,
) -> Result<Tensor> {
    let latents = prior_latents(model, count, seed, device)?;
    let _guard = tch::no_grad_guard();
    let mut images = Vec::new();
    for (index, start) in (0..count).step_by(batch.max(1) as usize).enumerate() {
        let length = batch.max(1).min(count - start);
        if !team.part().is_dealt(index) {
            let [c, h, w] = model.image_shape();
            images.push(Tensor::f_zeros(
                [length, c, h, w],
                (Kind::Float, Device::Cpu),
            )?);
            continue;
        }
        let part = narrow_latents(&latents, start, length)?;
        let decoded = model
            .decode(&part.scaled(temperature)?, Cx::default())?
            .value;
        images.push(decoded.f_to_device(Device::Cpu)?);
    }
    check(device).map_err(|err| model.locate(err, Cx::default()))?;
    let images = Tensor::f_cat(&images, 0)?;
    // where one process has an image, the others have zeros
    team.sum(&images)?;
    to_range(&images)
}

/// The latents of `length` images from `start` on.
pub(super) fn narrow_latents(latents: &Latents, start: i64, length: i64) -> Result<Latents> {
    let parts = latents.0.iter().map(|z| z.f_narrow(0, start, length));
    Ok(Latents(parts.collect::<std::result::Result<_, _>>()?))
}
