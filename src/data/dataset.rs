//! Images and labels in memory.

use super::Augmentation;
use crate::words::counted;
use crate::{Error, Result};
use rand_chacha::rand_core::RngCore;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use tch::{Kind, Tensor};

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the parameters are fitted to.
    Train,
    /// What the best parameters are chosen by.
    Val,
    /// What results are reported on.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "train" => Ok(Self::Train),
            "val" => Ok(Self::Val),
            "test" => Ok(Self::Test),
            _ => Err(Error::config(format!(
                "unknown split `{text}`: choose train, val or test"
            ))),
        }
    }
}

/// The three parts of a data set.
#[derive(Debug, Clone)]
pub struct Splits {
    /// What the parameters are fitted to.
    pub train: Dataset,
    /// What the best parameters are chosen by.
    pub val: Dataset,
    /// What results are reported on.
    pub test: Dataset,
}

/// 8-bit images with labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Data set and split, for reports (`mnist test`).
    pub name: String,
    /// `[C, H, W]` of an image.
    pub chw: [i64; 3],
    /// `N * C * H * W` pixels, image by image, channel by channel, row by row.
    pub images: Vec<u8>,
    /// `N` labels.
    pub labels: Vec<u8>,
}

impl Dataset {
    /// A data set of `labels.len()` images.
    ///
    /// # Errors
    /// An image size below 1, or a number of pixels that is not that of `labels.len()` images.
    pub fn new(
        name: impl Into<String>,
        chw: [i64; 3],
        images: Vec<u8>,
        labels: Vec<u8>,
    ) -> Result<Self> {
        if chw.iter().any(|&size| size < 1) {
            let problem = format!("needs positive sizes [C, H, W], got {chw:?}");
            return Err(Error::argument("Dataset::new", "chw", problem));
        }
        let expected = labels.len() * chw.iter().product::<i64>() as usize;
        if images.len() != expected {
            let problem = format!(
                "has {}; {} of {chw:?} are {expected}",
                counted(images.len(), "byte"),
                counted(labels.len(), "image")
            );
            return Err(Error::argument("Dataset::new", "images", problem));
        }
        let name = name.into();
        Ok(Self {
            name,
            chw,
            images,
            labels,
        })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of bytes of one image, `C * H * W`.
    pub fn image_len(&self) -> usize {
        self.chw.iter().product::<i64>() as usize
    }

    /// The `C * H * W` pixels of image `i`, `None` past the end.
    pub fn image(&self, i: usize) -> Option<&[u8]> {
        self.images.chunks_exact(self.image_len()).nth(i)
    }

    /// The images of `range`, cut off at the end of the data.
    pub fn subset(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let size = self.image_len();
        Self {
            name: self.name.clone(),
            chw: self.chw,
            images: self.images[start * size..end * size].to_vec(),
            labels: self.labels[start..end].to_vec(),
        }
    }

    /// All images as a `[N, C, H, W]` tensor of bytes on the CPU.
    ///
    /// # Errors
    /// Not enough memory.
    pub fn all(&self) -> Result<Tensor> {
        self.to_tensor(&self.images)
    }

    /// The images at `indices` as a `[B, C, H, W]` tensor of bytes on the CPU; callers convert it to
    /// floating point after it has moved to their device, where it is a quarter of the size.
    ///
    /// # Errors
    /// An index past the end.
    pub fn batch(&self, indices: &[usize]) -> Result<Tensor> {
        self.to_tensor(&self.gather(indices)?)
    }

    /// [`batch`](Self::batch) after random augmentation of every image, drawn from `rng` in order.
    ///
    /// # Errors
    /// An index past the end.
    pub fn augmented_batch(
        &self,
        indices: &[usize],
        augmentation: Augmentation,
        rng: &mut impl RngCore,
    ) -> Result<Tensor> {
        let mut pixels = self.gather(indices)?;
        for image in pixels.chunks_exact_mut(self.image_len()) {
            augmentation.apply(image, self.chw, rng)?;
        }
        self.to_tensor(&pixels)
    }

    fn gather(&self, indices: &[usize]) -> Result<Vec<u8>> {
        let size = self.image_len();
        let mut pixels = Vec::with_capacity(indices.len() * size);
        for &i in indices {
            let image = self.image(i).ok_or_else(|| {
                let images = counted(self.len(), "image");
                let problem = format!("holds {i}, but {} has {images}", self.name);
                Error::argument("Dataset::batch", "indices", problem)
            })?;
            pixels.extend_from_slice(image);
        }
        Ok(pixels)
    }

    fn to_tensor(&self, pixels: &[u8]) -> Result<Tensor> {
        let [c, h, w] = self.chw;
        let count = (pixels.len() / self.image_len()) as i64;
        Ok(Tensor::f_from_data_size(
            pixels,
            &[count, c, h, w],
            Kind::Uint8,
        )?)
    }
}
