//! What makes the batches of a run: which images, in what order, changed how, with what noise. All of it is a function of
//! the seed and of the counters of the run, and the same to the bit on every device.

use super::{Part, RunConfig};
use crate::data::{Augmentation, Dataset, Epoch};
use crate::Result;
use tch::{Device, Kind, Tensor};

/// The order of the training images in an epoch, counted from 1.
pub(super) fn order(config: &RunConfig, data: &Dataset, epoch: u64) -> Result<Epoch> {
    Epoch::train(data.len(), config.train.batch_size, config.seed, epoch)
}

/// A batch of bytes as float32 on `device`.
///
/// # Errors
/// A device that is not there.
pub fn to_float(bytes: &Tensor, device: Device) -> Result<Tensor> {
    Ok(bytes.f_to_device(device)?.f_to_kind(Kind::Float)?)
}

/// What makes the batches of all epochs.
#[derive(Debug)]
pub struct Feed {
    pub(super) seed: u64,
    pub(super) augmentation: Option<Augmentation>,
    pub(super) device: Device,
    /// All images as bytes on the GPU, `[N, C, H, W]`; none on the CPU, or where they are too many.
    pub(super) resident: Option<Tensor>,
    pub(super) part: Part,
}

impl Feed {
    /// Takes the training images `data` to `device`: a GPU gets all of them if they have at most `train.device_data_mib`
    /// MiB.
    ///
    /// # Errors
    /// Not enough memory there.
    pub fn new(config: &RunConfig, data: &Dataset, device: Device) -> Result<Self> {
        let fits = data.bytes() <= config.train.device_data_mib.saturating_mul(1 << 20);
        let resident = match device {
            Device::Cuda(_) if fits => Some(data.all()?.f_to_device(device)?),
            _ => None,
        };
        Ok(Self {
            seed: config.seed,
            augmentation: config.data.augmentation(data.chw),
            device,
            resident,
            part: Part::WHOLE,
        })
    }

    /// Makes only this part of every batch, with the same bits as in the whole one.
    #[must_use]
    pub fn of_part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }
}
