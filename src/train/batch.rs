//! The batches of a run: which images, in what order, changed how, with what noise. All of it is a function of the seed
//! and of the counters of the run.

use super::RunConfig;
use crate::data::{stream, uniform_noise, Augmentation, Dataset, Epoch, Purpose};
use crate::Result;
use tch::{Device, Kind, Tensor};

/// The order of the training images in an epoch, counted from 1.
pub(super) fn order(config: &RunConfig, data: &Dataset, epoch: u64) -> Result<Epoch> {
    Epoch::train(data.len(), config.train.batch_size, config.seed, epoch)
}

/// The images of one training step and their dequantisation noise, both functions of the seed and of `step`.
pub(super) fn batch(
    config: &RunConfig,
    data: &Dataset,
    indices: &[usize],
    step: u64,
    device: Device,
) -> Result<(Tensor, Tensor)> {
    let bytes = if config.data.augment {
        let mut rng = stream(config.seed, Purpose::Augment, step);
        data.augmented_batch(indices, Augmentation::of(config.data.name), &mut rng)?
    } else {
        data.batch(indices)?
    };
    let x = to_float(&bytes, device)?;
    let mut rng = stream(config.seed, Purpose::Noise, step);
    let noise = uniform_noise(&mut rng, &x.size(), Kind::Float, device)?;
    Ok((x, noise))
}

/// A batch of bytes as float32 on `device`.
///
/// # Errors
/// A device that is not there.
pub fn to_float(bytes: &Tensor, device: Device) -> Result<Tensor> {
    Ok(bytes.f_to_device(device)?.f_to_kind(Kind::Float)?)
}
