//! The batches of a run: which images, in what order, changed how, with what noise. All of it is a function of the seed
//! and of the counters of the run, and the same to the bit on every device.
//!
//! On the CPU a batch is made when it is asked for. On a GPU neither side waits for the other: the bytes of all images lie
//! there, what an epoch does with them is uploaded once an epoch, and one kernel makes a batch. A data set that is too
//! large for that stays with the host, which uploads the bytes of each batch from pinned memory.

use super::{Part, RunConfig};
use crate::cuda::batch::{batch, BatchOf};
use crate::data::{stream, stream_key, uniform_noise, Augmentation, Change};
use crate::data::{Dataset, Epoch, Purpose};
use crate::ffi::upload::upload;
use crate::{Error, Result};
use std::ops::Range;
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
    seed: u64,
    augmentation: Option<Augmentation>,
    device: Device,
    /// All images as bytes on the GPU, `[N, C, H, W]`; none on the CPU, or where they are too many.
    resident: Option<Tensor>,
    part: Part,
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

    /// The batches of an epoch with this order, the first of which is that of the run's step `first_step`.
    ///
    /// # Errors
    /// Not enough memory.
    pub fn epoch(&self, order: Epoch, first_step: u64) -> Result<Batches> {
        let mut batches = Batches {
            seed: self.seed,
            augmentation: self.augmentation,
            order,
            first_step,
            part: self.part,
            gpu: None,
        };
        if let Device::Cuda(index) = self.device {
            batches.gpu = Some(OnGpu {
                index,
                picks: upload(&batches.picks(self.resident.is_some())?, index)?,
                resident: self.resident.as_ref().map(Tensor::shallow_clone),
            });
        }
        Ok(batches)
    }
}

/// The batches of one epoch.
#[derive(Debug)]
pub struct Batches {
    seed: u64,
    augmentation: Option<Augmentation>,
    order: Epoch,
    first_step: u64,
    /// What of a batch is made.
    part: Part,
    /// None for a run on the CPU.
    gpu: Option<OnGpu>,
}

#[derive(Debug)]
struct OnGpu {
    index: usize,
    /// See [`Feed`].
    resident: Option<Tensor>,
    /// See [`Batches::picks`].
    picks: Tensor,
}

impl Batches {
    /// Number of batches.
    pub fn len(&self) -> u64 {
        self.order.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The images of batch `number`, all of them, and which of these are made.
    ///
    /// # Errors
    /// There is no such batch.
    pub fn images(&self, number: u64) -> Result<(&[usize], Range<usize>)> {
        let Some(indices) = self.order.batches_from(number as usize).next() else {
            let text = format!("must be less than {}, got {number}", self.len());
            return Err(Error::argument("Batches", "number", text));
        };
        Ok((indices, self.part.range(indices.len())))
    }

    /// Batch `number` on the device, or the [part](Feed::of_part) of it: images `[B, C, H, W]` and their dequantisation
    /// noise, float32. `data` are the images that the [`Feed`] was made for.
    ///
    /// # Errors
    /// There is no such batch, or what the device reports.
    pub fn get(&self, data: &Dataset, number: u64) -> Result<(Tensor, Tensor)> {
        let (indices, part) = self.images(number)?;
        let noise = (self.seed, Purpose::Noise, self.first_step + number);
        let [c, h, w] = data.chw;
        let Some(gpu) = &self.gpu else {
            let indices_here = &indices[part.clone()];
            let bytes = match self.augmentation {
                Some(augmentation) => {
                    let mut changes = self.changes(number);
                    for _ in 0..part.start {
                        // how many words of the stream an image takes is known when it has been drawn
                        augmentation.draw(&mut changes);
                    }
                    data.augmented_batch(indices_here, augmentation, &mut changes)?
                }
                None => data.batch(indices_here)?,
            };
            let x = to_float(&bytes, Device::Cpu)?;
            let mut rng = stream(noise.0, noise.1, noise.2);
            // a number of the noise takes one word of 32 bits
            rng.set_word_pos(part.start as u128 * (c * h * w) as u128);
            let noise = uniform_noise(&mut rng, &x.size(), Kind::Float, Device::Cpu)?;
            return Ok((x, noise));
        };
        let count = indices.len() as i64;
        let of = BatchOf {
            size: [count, c, h, w],
            reflect: self.augmentation.is_some_and(Augmentation::reflects),
            key: stream_key(noise.0, noise.1, noise.2),
        };
        let images = match &gpu.resident {
            Some(all) => all.shallow_clone(),
            None => upload(&data.batch(indices)?, gpu.index)?,
        };
        let first = self.order.batch_size() as i64 * number as i64;
        let whole = batch(&of, &images, &gpu.picks.f_narrow(0, first, count)?)?;
        if part.len() == indices.len() {
            return Ok(whole);
        }
        let here = |whole: Tensor| whole.f_narrow(0, part.start as i64, part.len() as i64);
        Ok((here(whole.0)?, here(whole.1)?))
    }

    /// The stream that the changes of a batch are drawn from, image by image.
    fn changes(&self, number: u64) -> impl rand_chacha::rand_core::RngCore {
        stream(self.seed, Purpose::Augment, self.first_step + number)
    }

    /// For every image of the epoch, in its order, what the kernel must know, `[N, 4]` (`kernels/batch.cuh`): its number,
    /// among `all` images or among those of its batch, and its change. The host draws the changes, a few numbers an image:
    /// how many words of the stream an image takes is known when those before it have been drawn.
    fn picks(&self, all: bool) -> Result<Tensor> {
        let mut picks = Vec::new();
        for (number, indices) in self.order.batches().enumerate() {
            let mut rng = self.changes(number as u64);
            for (place, &index) in indices.iter().enumerate() {
                let image = if all { index } else { place };
                let image = i32::try_from(image).map_err(|_| {
                    Error::config(format!(
                        "a GPU takes 2^31 images at most, not image {image}"
                    ))
                })?;
                let change = match self.augmentation {
                    Some(augmentation) => augmentation.draw(&mut rng),
                    None => Change::default(),
                };
                picks.extend([image, i32::from(change.flip), change.rows, change.columns]);
            }
        }
        Ok(Tensor::f_from_slice(&picks)?.f_view([-1, 4])?)
    }
}
