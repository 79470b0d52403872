//! Random shifts and flips of training images, in place.

use super::{uniform_below, DataName};
use crate::words::counted;
use crate::{Error, Result};
use rand_chacha::rand_core::RngCore;

/// How pixels that come from beyond the border are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Border {
    /// Mirror image without repeating the border pixel.
    Reflect,
    /// The border pixel itself.
    Edge,
}

/// A family of random changes that leave what an image shows unchanged; for training images only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    flip: bool,
    shift: u64,
    border: Border,
}

/// What is done to one image; [`Change::default`] leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Columns are read from right to left.
    pub flip: bool,
    /// A pixel takes the value of so many rows below it.
    pub rows: i32,
    /// And so many columns to the right of it, or of its mirror image.
    pub columns: i32,
}

impl Augmentation {
    /// What is customary for a data set (Keller et al., Self Normalizing Flows, 2021,
    /// <https://arxiv.org/abs/2011.07248>, and its published code):
    ///
    /// - digits: padding by 1 with reflection, then a random crop of the original size, which is a shift by up
    ///   to one pixel;
    /// - CIFAR-10: a horizontal flip with probability 1/2, and a shift by up to two pixels with
    ///   repeated border pixels.
    pub fn of(name: DataName) -> Self {
        match name {
            DataName::Glyphs | DataName::Mnist => Self::DIGITS,
            DataName::Cifar10 | DataName::Noise(_) => Self::PHOTOGRAPHS,
        }
    }

    /// The same for images of one's own, by their shape: grey ones are changed like digits, which a flip may make into
    /// something else, and coloured ones like CIFAR-10.
    pub fn customary([channels, ..]: [i64; 3]) -> Self {
        match channels {
            1 => Self::DIGITS,
            _ => Self::PHOTOGRAPHS,
        }
    }

    const DIGITS: Self = Self {
        flip: false,
        shift: 1,
        border: Border::Reflect,
    };

    const PHOTOGRAPHS: Self = Self {
        flip: true,
        shift: 2,
        border: Border::Edge,
    };

    /// Whether pixels from beyond the border are a mirror image; else they are the border's own.
    pub fn reflects(self) -> bool {
        self.border == Border::Reflect
    }

    /// What happens to the next image.
    pub fn draw(self, rng: &mut impl RngCore) -> Change {
        let flip = self.flip && uniform_below(rng, 2) == 1;
        let mut offset =
            || (uniform_below(rng, 2 * self.shift + 1) as i64 - self.shift as i64) as i32;
        Change {
            flip,
            rows: offset(),
            columns: offset(),
        }
    }

    /// Changes one `[C, H, W]` image; all channels alike. On a GPU `kernels/batch.cu` does the same.
    ///
    /// # Errors
    /// A number of bytes other than `C * H * W`.
    pub fn apply(self, image: &mut [u8], chw: [i64; 3], rng: &mut impl RngCore) -> Result<()> {
        let [c, h, w] = chw.map(|size| usize::try_from(size).unwrap_or(0));
        if image.len() != c * h * w || image.is_empty() {
            let bytes = counted(image.len(), "byte");
            let problem = format!("has {bytes}, which is not {chw:?}");
            return Err(Error::argument("Augmentation::apply", "image", problem));
        }
        let change = self.draw(rng);
        let rows: Vec<usize> = (0..h).map(|y| self.source(y, change.rows, h)).collect();
        let columns: Vec<usize> = (0..w)
            .map(|x| {
                let x = if change.flip { w - 1 - x } else { x };
                self.source(x, change.columns, w)
            })
            .collect();
        let mut plane = Vec::with_capacity(h * w);
        for pixels in image.chunks_exact_mut(h * w) {
            plane.clear();
            plane.extend_from_slice(pixels);
            for (row, &y) in pixels.chunks_exact_mut(w).zip(&rows) {
                let from = &plane[y * w..(y + 1) * w];
                for (pixel, &x) in row.iter_mut().zip(&columns) {
                    *pixel = from[x];
                }
            }
        }
        Ok(())
    }

    /// The coordinate in `0..size` that the pixel at `at` takes its value from.
    fn source(self, at: usize, offset: i32, size: usize) -> usize {
        let (last, from) = (size as i64 - 1, at as i64 + i64::from(offset));
        let inside = match self.border {
            Border::Edge => from,
            Border::Reflect if from < 0 => -from,
            Border::Reflect if from > last => 2 * last - from,
            Border::Reflect => from,
        };
        // an image smaller than the shift has no mirror image to take: its border pixel stands in
        inside.clamp(0, last) as usize
    }
}
