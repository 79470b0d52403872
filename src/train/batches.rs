//! The batches of one epoch, on their device.
//!
//! On the CPU the host makes them. On a GPU neither side waits for the other: the bytes of all images lie there, what an epoch
//! does with them is uploaded once an epoch, and one kernel makes a batch. A data set that is too large for that stays with
//! the host, which uploads the bytes of each batch from pinned memory.

use super::feed::Feed;
use super::host_batches::{HostBatches, Made};
use crate::cuda::batch::{batch, BatchOf};
use crate::data::{stream_key, Augmentation, Dataset, Epoch};
use crate::ffi::upload::upload;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Arc;
use tch::{Device, Tensor};

/// The batches of one epoch.
#[derive(Debug)]
pub struct Batches {
    pub(super) host: Arc<HostBatches>,
    /// None for a run on the CPU.
    gpu: Option<OnGpu>,
}

#[derive(Debug)]
struct OnGpu {
    index: usize,
    /// See [`Feed`].
    resident: Option<Tensor>,
    /// See [`HostBatches::picks`].
    picks: Tensor,
}

impl Feed {
    /// The batches of an epoch with this order, the first of which is that of the run's step `first_step`.
    ///
    /// # Errors
    /// Not enough memory.
    pub fn epoch(&self, order: Epoch, first_step: u64) -> Result<Batches> {
        let host = HostBatches {
            seed: self.seed,
            augmentation: self.augmentation,
            order,
            first_step,
            part: self.part,
            gpu: self.device.is_cuda(),
        };
        let gpu = match self.device {
            Device::Cuda(index) => Some(OnGpu {
                index,
                picks: upload(&host.picks(self.resident.is_some())?, index)?,
                resident: self.resident.as_ref().map(Tensor::shallow_clone),
            }),
            _ => None,
        };
        Ok(Batches {
            host: Arc::new(host),
            gpu,
        })
    }
}

impl Batches {
    /// Number of batches.
    pub fn len(&self) -> u64 {
        self.host.order.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.host.order.is_empty()
    }

    /// The images of batch `number`, all of them, and which of these are made.
    ///
    /// # Errors
    /// There is no such batch.
    pub fn images(&self, number: u64) -> Result<(&[usize], Range<usize>)> {
        self.host.images(number)
    }

    /// The labels of the images that are made of batch `number`.
    ///
    /// # Errors
    /// There is no such batch.
    pub fn labels(&self, data: &Dataset, number: u64) -> Result<Vec<u16>> {
        let (indices, part) = self.images(number)?;
        Ok(indices[part].iter().map(|&i| data.labels[i]).collect())
    }

    /// Batch `number` on the device, or the [part](Feed::of_part) of it: images `[B, C, H, W]` and their dequantisation
    /// noise, float32. `data` are the images that the [`Feed`] was made for.
    ///
    /// # Errors
    /// There is no such batch, or what the device reports.
    pub fn get(&self, data: &Dataset, number: u64) -> Result<(Tensor, Tensor)> {
        let made = match self.need_the_host() {
            true => Some(self.host.make(data, number)?),
            false => None,
        };
        self.on_device(data.chw, number, made)
    }

    /// Whether the host has a part in making them.
    pub(super) fn need_the_host(&self) -> bool {
        self.gpu.as_ref().is_none_or(|gpu| gpu.resident.is_none())
    }

    /// Batch `number` of images `[C, H, W]`, of which the host has made what it has to.
    pub(super) fn on_device(
        &self,
        [c, h, w]: [i64; 3],
        number: u64,
        made: Option<Made>,
    ) -> Result<(Tensor, Tensor)> {
        let gpu = self.gpu.as_ref();
        let resident = gpu.and_then(|gpu| gpu.resident.as_ref());
        let (gpu, images) = match (made, gpu, resident) {
            (Some(Made::Floats { x, noise }), ..) => return Ok((x, noise)),
            (Some(Made::Bytes(bytes)), Some(gpu), _) => (gpu, upload(&bytes, gpu.index)?),
            (None, Some(gpu), Some(all)) => (gpu, all.shallow_clone()),
            (Some(Made::Bytes(_)), None, _) | (None, ..) => {
                let text = "is not made of what these batches are made of";
                return Err(Error::argument("Batches", "made", text));
            }
        };
        let (indices, part) = self.images(number)?;
        let count = indices.len() as i64;
        let (seed, purpose, step) = self.host.noise(number);
        let of = BatchOf {
            size: [count, c, h, w],
            reflect: self.host.augmentation.is_some_and(Augmentation::reflects),
            key: stream_key(seed, purpose, step),
        };
        let first = self.host.order.batch_size() as i64 * number as i64;
        let whole = batch(&of, &images, &gpu.picks.f_narrow(0, first, count)?)?;
        if part.len() == indices.len() {
            return Ok(whole);
        }
        let here = |whole: Tensor| whole.f_narrow(0, part.start as i64, part.len() as i64);
        Ok((here(whole.0)?, here(whole.1)?))
    }
}
