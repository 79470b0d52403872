//! The host's share of the batches of an epoch: numbers drawn from the seed and bytes of images.
//!
//! It asks libtorch for no work that libtorch shares out among threads, so that it may run beside a training step without
//! taking threads from it.

use super::Part;
use crate::data::{stream, uniform_noise, Augmentation, Change, Dataset, Epoch, Purpose};
use crate::ffi::upload::pinned;
use crate::{Error, Result};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Which images each batch of an epoch holds, and how they are changed.
#[derive(Debug)]
pub(super) struct HostBatches {
    pub seed: u64,
    pub augmentation: Option<Augmentation>,
    pub order: Epoch,
    pub first_step: u64,
    /// What of a batch is made.
    pub part: Part,
    /// A GPU makes the batches from bytes.
    pub gpu: bool,
}

/// What the host makes of a batch.
#[derive(Debug)]
pub(super) enum Made {
    /// All of it, float32.
    Floats { x: Tensor, noise: Tensor },
    /// The bytes of all its images as they are, in pinned memory.
    Bytes(Tensor),
}

impl HostBatches {
    /// The images of batch `number`, all of them, and which of these are made.
    ///
    /// # Errors
    /// There is no such batch.
    pub fn images(&self, number: u64) -> Result<(&[usize], Range<usize>)> {
        let Some(indices) = self.order.batches_from(number as usize).next() else {
            let text = format!("must be less than {}, got {number}", self.order.len());
            return Err(Error::argument("Batches", "number", text));
        };
        Ok((indices, self.part.range(indices.len())))
    }

    /// What the noise of a batch is drawn from.
    pub fn noise(&self, number: u64) -> (u64, Purpose, u64) {
        (self.seed, Purpose::Noise, self.first_step + number)
    }

    /// The host's share of batch `number`.
    ///
    /// # Errors
    /// There is no such batch, or a file that cannot be read any more.
    pub fn make(&self, data: &Dataset, number: u64) -> Result<Made> {
        let (indices, part) = self.images(number)?;
        if self.gpu {
            return Ok(Made::Bytes(pinned(&data.batch(indices)?)?));
        }
        let indices = &indices[part.clone()];
        let bytes = match self.augmentation {
            Some(augmentation) => {
                let mut changes = self.changes(number);
                for _ in 0..part.start {
                    // how many words of the stream an image takes is known when it has been drawn
                    augmentation.draw(&mut changes);
                }
                data.augmented(indices, augmentation, &mut changes)?
            }
            None => data.gathered(indices)?,
        };
        let [c, h, w] = data.chw;
        let size = [indices.len() as i64, c, h, w];
        let floats: Vec<f32> = bytes.into_iter().map(f32::from).collect();
        let (seed, purpose, step) = self.noise(number);
        let mut rng = stream(seed, purpose, step);
        // a number of the noise takes one word of 32 bits
        rng.set_word_pos(part.start as u128 * (c * h * w) as u128);
        Ok(Made::Floats {
            x: Tensor::f_from_slice(&floats)?.f_view(size)?,
            noise: uniform_noise(&mut rng, &size, Kind::Float, Device::Cpu)?,
        })
    }

    /// The stream that the changes of a batch are drawn from, image by image.
    fn changes(&self, number: u64) -> impl rand_chacha::rand_core::RngCore {
        stream(self.seed, Purpose::Augment, self.first_step + number)
    }

    /// For every image of the epoch, in its order, what the kernel must know, `[N, 4]` (`kernels/batch.cuh`): its number,
    /// among `all` images or among those of its batch, and its change. The host draws the changes, a few numbers an image:
    /// how many words of the stream an image takes is known when those before it have been drawn.
    pub fn picks(&self, all: bool) -> Result<Tensor> {
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
