//! From the shape of an array to images.

use super::found::Images;

/// What an array's numbers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Unsigned bytes.
    Bytes(Vec<u8>),
    /// Integers of another size, as they may number classes.
    Integers(Vec<i64>),
    /// Anything else; its name is for messages.
    Other(String),
}

/// An array from a file, its last dimension the fastest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

/// The colours that the last or second dimension of an array of images may number: grey, colour, colour with alpha.
const CHANNELS: [usize; 3] = [1, 3, 4];

impl Array {
    /// Whether this may be images: three or four dimensions.
    pub(super) fn like_images(&self) -> bool {
        matches!(self.shape.len(), 3 | 4)
    }

    /// One label an image, if it can be that.
    pub(super) fn labels(&self, count: usize) -> Option<Vec<u16>> {
        let one_each = match self.shape[..] {
            [n] | [n, 1] => n == count,
            _ => false,
        };
        if !one_each {
            return None;
        }
        match &self.numbers {
            Numbers::Bytes(labels) => Some(labels.iter().map(|&label| label.into()).collect()),
            Numbers::Integers(labels) => labels
                .iter()
                .map(|&label| u16::try_from(label).ok())
                .collect(),
            Numbers::Other(_) => None,
        }
    }

    /// The images of `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]`, with label 0.
    ///
    /// # Errors
    /// What it is instead, and how to mend it.
    pub(super) fn images(self) -> Result<Images, String> {
        let bytes = match self.numbers {
            Numbers::Bytes(bytes) => bytes,
            Numbers::Integers(_) => {
                return Err("holds integers that are no bytes: save x.astype('uint8'), 0 black and 255 white".into())
            }
            Numbers::Other(dtype) => {
                return Err(format!(
                    "holds {dtype}, and images are bytes: save (255 * x).round().astype('uint8') of numbers in [0, 1]"
                ))
            }
        };
        let (n, channels_last, [c, h, w]) = match self.shape[..] {
            [n, h, w] => (n, false, [1, h, w]),
            [n, a, b, c] => match (CHANNELS.contains(&a), CHANNELS.contains(&c)) {
                (false, true) => (n, true, [c, a, b]),
                (true, false) => (n, false, [a, b, c]),
                (true, true) => {
                    return Err(format!(
                        "has the shape {:?}, of which either side may be the colours: save images of [N, H, W, C] with H > 4",
                        self.shape
                    ))
                }
                (false, false) => {
                    return Err(format!(
                        "has the shape {:?}, none of whose sides can be 1, 3 or 4 colours",
                        self.shape
                    ))
                }
            },
            _ => {
                return Err(format!(
                    "has the shape {:?}; images are [N, H, W], [N, H, W, C] or [N, C, H, W]",
                    self.shape
                ))
            }
        };
        if n == 0 || h == 0 || w == 0 {
            return Err(format!("has the shape {:?}, which is no image", self.shape));
        }
        if c == 4 {
            return Err("has 4 channels: images have 1 or 3; leave the alpha channel out".into());
        }
        let pixels = if channels_last && c > 1 {
            let mut pixels = Vec::with_capacity(bytes.len());
            for image in bytes.chunks_exact(h * w * c) {
                for channel in 0..c {
                    pixels.extend(image.iter().skip(channel).step_by(c));
                }
            }
            pixels
        } else {
            bytes
        };
        Ok(Images {
            chw: [c, h, w].map(|size| size as i64),
            pixels,
            labels: vec![0; n],
        })
    }
}
