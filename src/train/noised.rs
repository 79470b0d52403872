//! Images of a data set on a device, with the noise of an evaluation.

use super::feed::to_float;
use crate::data::{evaluation_noise, Dataset};
use crate::ffi::upload::upload;
use crate::Result;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Some images, and samples of their noise.
#[derive(Debug)]
pub(super) struct Noised {
    /// `[N, C, H, W]`, floating point.
    pub x: Tensor,
    /// Their labels.
    pub labels: Vec<u16>,
    /// The first sample of the noise, if it came with the images and was not taken yet.
    first: Option<Tensor>,
    /// Of the noise; none where midpoints stand for it.
    seed: Option<u64>,
    images: Range<usize>,
    chw: [i64; 3],
    device: Device,
}

impl Noised {
    /// The images of a range. A GPU gets them together with the first sample of their noise in one copy, for which the host
    /// does not wait.
    ///
    /// # Errors
    /// There are no such images, or a device that is not there.
    pub(super) fn new(
        data: &Dataset,
        images: Range<usize>,
        seed: Option<u64>,
        device: Device,
    ) -> Result<Self> {
        let bytes = data.batch(&images.clone().collect::<Vec<_>>())?;
        let (x, first) = match (device, seed) {
            (Device::Cuda(index), Some(seed)) => {
                let noise = evaluation_noise(seed, images.clone(), 0, data.chw)?;
                let (bytes, noise) = uploaded(&bytes, &noise, index)?;
                (bytes.f_to_kind(Kind::Float)?, Some(noise))
            }
            _ => (to_float(&bytes, device)?, None),
        };
        Ok(Self {
            x,
            labels: data.labels[images.clone()].to_vec(),
            first,
            seed,
            images,
            chw: data.chw,
            device,
        })
    }

    /// The noise of a sample, float32; none where the midpoint stands for it.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn noise(&mut self, sample: usize) -> Result<Option<Tensor>> {
        let Some(seed) = self.seed else {
            return Ok(None);
        };
        if let (0, Some(noise)) = (sample, self.first.take()) {
            return Ok(Some(noise));
        }
        let noise = evaluation_noise(seed, self.images.clone(), sample as u64, self.chw)?;
        Ok(Some(match self.device {
            Device::Cuda(index) => upload(&noise, index)?,
            _ => noise,
        }))
    }
}

/// Bytes and float32 numbers on a GPU, in one copy.
fn uploaded(bytes: &Tensor, numbers: &Tensor, index: usize) -> Result<(Tensor, Tensor)> {
    // the numbers first: they must lie at a multiple of their size
    let as_bytes = numbers.f_view([-1])?.f_view_dtype(Kind::Uint8)?;
    let both = Tensor::f_cat(&[&as_bytes, &bytes.f_view([-1])?], 0)?;
    let both = upload(&both, index)?;
    let there = both.f_narrow(0, 0, as_bytes.size1()?)?;
    let rest = both.f_narrow(0, as_bytes.size1()?, bytes.numel() as i64)?;
    Ok((
        rest.f_view(bytes.size().as_slice())?,
        there
            .f_view_dtype(Kind::Float)?
            .f_view(numbers.size().as_slice())?,
    ))
}
