//! Images with labels, and batches of them as tensors.

use super::config::check_side;
use super::pixels::Pixels;
use super::{Augmentation, Background};
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

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];
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
    /// What files of the user's own hold; none for data sets that are known by their name.
    pub fingerprint: Option<String>,
    /// What is to be known about the files, such as those that were left out.
    pub remarks: Vec<String>,
}

/// 8-bit images with labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Data set and split, for reports (`mnist test`).
    pub name: String,
    /// `[C, H, W]` of an image.
    pub chw: [i64; 3],
    /// `N` labels.
    pub labels: Vec<u16>,
    /// The names of the classes that labels number, where they have names.
    pub classes: Vec<String>,
    /// The `N` files that the images are from, by their paths below the source; none where they are from arrays.
    pub files: Vec<String>,
    /// `N * C * H * W` bytes, image by image, channel by channel, row by row.
    pixels: Pixels,
}

impl Dataset {
    /// A data set of `labels.len()` images in memory.
    ///
    /// # Errors
    /// An image size below 1, or a number of pixels that is not that of `labels.len()` images.
    pub fn new(
        name: impl Into<String>,
        chw: [i64; 3],
        images: Vec<u8>,
        labels: Vec<u16>,
    ) -> Result<Self> {
        Self::of_pixels(name, chw, Pixels::memory(images), labels)
    }

    /// The same with bytes that may lie in a file.
    pub(super) fn of_pixels(
        name: impl Into<String>,
        chw: [i64; 3],
        pixels: Pixels,
        labels: Vec<u16>,
    ) -> Result<Self> {
        if chw.iter().any(|&size| size < 1) {
            let problem = format!("needs positive sizes [C, H, W], got {chw:?}");
            return Err(Error::argument("Dataset::new", "chw", problem));
        }
        let expected = labels.len() as u64 * chw.iter().product::<i64>() as u64;
        if pixels.len() != expected {
            let problem = format!(
                "has {}; {} of {chw:?} are {expected}",
                counted(pixels.len(), "byte"),
                counted(labels.len(), "image")
            );
            return Err(Error::argument("Dataset::new", "images", problem));
        }
        Ok(Self {
            name: name.into(),
            chw,
            labels,
            classes: Vec::new(),
            files: Vec::new(),
            pixels,
        })
    }

    /// The same images, the classes of which have these names.
    #[must_use]
    pub fn with_classes(self, classes: Vec<String>) -> Self {
        Self { classes, ..self }
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

    /// Number of bytes of all images.
    pub fn bytes(&self) -> u64 {
        self.pixels.len()
    }

    /// The `C * H * W` pixels of image `i`.
    ///
    /// # Errors
    /// An index past the end, or a file that cannot be read any more.
    pub fn image(&self, i: usize) -> Result<Vec<u8>> {
        self.gathered(&[i])
    }

    /// The pixels of all images, side by side.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub fn pixels(&self) -> Result<Vec<u8>> {
        let mut pixels = vec![0; self.bytes() as usize];
        self.pixels.read(0, &mut pixels)?;
        Ok(pixels)
    }

    /// The images of `range`, cut off at the end of the data.
    pub fn subset(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let size = self.image_len() as u64;
        Self {
            name: self.name.clone(),
            chw: self.chw,
            labels: self.labels[start..end].to_vec(),
            classes: self.classes.clone(),
            files: self.files.get(start..end).unwrap_or_default().to_vec(),
            pixels: self.pixels.part(start as u64 * size..end as u64 * size),
        }
    }

    /// The images as they are in the middle of `[H, W]`, with the background around them.
    ///
    /// # Errors
    /// Images that are larger, or in a file.
    pub(super) fn padded(self, size: [i64; 2], background: Background) -> Result<Self> {
        let [c, h, w] = self.chw;
        if self.chw[1..] == size {
            return Ok(self);
        }
        size.into_iter().try_for_each(check_side)?;
        if h > size[0] || w > size[1] {
            return Err(Error::config(format!(
                "images of {h}x{w} cannot be padded to {}x{}: use a larger --pad",
                size[0], size[1]
            )));
        }
        let chw = [c, size[0], size[1]];
        let (top, left) = ((size[0] - h) / 2, (size[1] - w) / 2);
        let (small, large) = ((h * w) as usize, (size[0] * size[1]) as usize);
        let mut pixels = vec![0; self.len() * c as usize * large];
        let mut image = vec![0; self.image_len()];
        for (i, padded) in pixels.chunks_exact_mut(c as usize * large).enumerate() {
            self.pixels.read((i * image.len()) as u64, &mut image)?;
            let planes = padded
                .chunks_exact_mut(large)
                .zip(image.chunks_exact(small));
            for (channel, (padded, plane)) in planes.enumerate() {
                padded.fill(background.of(channel, c as usize));
                for (y, row) in plane.chunks_exact(w as usize).enumerate() {
                    let start = (top as usize + y) * size[1] as usize + left as usize;
                    padded[start..start + row.len()].copy_from_slice(row);
                }
            }
        }
        Ok(Self {
            chw,
            pixels: Pixels::memory(pixels),
            ..self
        })
    }

    /// All images as a `[N, C, H, W]` tensor of bytes on the CPU.
    ///
    /// # Errors
    /// Not enough memory, or a file that cannot be read any more.
    pub fn all(&self) -> Result<Tensor> {
        self.to_tensor(&self.pixels()?)
    }

    /// The images at `indices` as a `[B, C, H, W]` tensor of bytes on the CPU; callers convert it to
    /// floating point after it has moved to their device, where it is a quarter of the size.
    ///
    /// # Errors
    /// An index past the end, or a file that cannot be read any more.
    pub fn batch(&self, indices: &[usize]) -> Result<Tensor> {
        self.to_tensor(&self.gathered(indices)?)
    }

    /// [`gathered`](Self::gathered) pixels after random augmentation of every image, drawn from `rng` in order.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    pub fn augmented(
        &self,
        indices: &[usize],
        augmentation: Augmentation,
        rng: &mut impl RngCore,
    ) -> Result<Vec<u8>> {
        let mut pixels = self.gathered(indices)?;
        for image in pixels.chunks_exact_mut(self.image_len()) {
            augmentation.apply(image, self.chw, rng)?;
        }
        Ok(pixels)
    }

    /// The pixels of the images at `indices`, side by side.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    pub fn gathered(&self, indices: &[usize]) -> Result<Vec<u8>> {
        let size = self.image_len();
        let mut pixels = vec![0; indices.len() * size];
        for (&i, image) in indices.iter().zip(pixels.chunks_exact_mut(size)) {
            if i >= self.len() {
                let images = counted(self.len(), "image");
                let problem = format!("holds {i}, but {} has {images}", self.name);
                return Err(Error::argument("Dataset::batch", "indices", problem));
            }
            self.pixels.read((i * size) as u64, image)?;
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
