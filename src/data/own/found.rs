//! What a source holds, before it is split.

use crate::data::fit::size_text;
use crate::data::{Dataset, Split};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Images of one size in memory, with a label each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Images {
    /// `[C, H, W]`.
    pub chw: [i64; 3],
    /// `N * C * H * W` bytes.
    pub pixels: Vec<u8>,
    /// `N` labels, 0 where there are none.
    pub labels: Vec<u16>,
}

impl Images {
    fn image_len(&self) -> usize {
        self.chw.iter().product::<i64>() as usize
    }

    /// The images at `indices`, in their order.
    fn picked(&self, indices: &[usize]) -> Self {
        let size = self.image_len();
        Self {
            chw: self.chw,
            pixels: indices
                .iter()
                .flat_map(|i| &self.pixels[i * size..(i + 1) * size])
                .copied()
                .collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }

    /// These and then `others`.
    pub(super) fn followed_by(mut self, others: Self) -> Result<Self, String> {
        if self.chw != others.chw {
            let [mine, theirs] = [self.chw, others.chw].map(size_text);
            return Err(format!("has images of {theirs}, others have {mine}"));
        }
        self.pixels.extend(others.pixels);
        self.labels.extend(others.labels);
        Ok(self)
    }
}

/// The images of a source, split as far as the source is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What is for training, and the rest of what is not split.
    pub train: Images,
    /// What is for validation, if the source says so.
    pub val: Option<Images>,
    /// What is for testing, if the source says so.
    pub test: Option<Images>,
    /// The names of the classes.
    pub classes: Vec<String>,
}

impl Found {
    /// What the images and labels are, in one short text.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for images in [Some(&self.train), self.val.as_ref(), self.test.as_ref()] {
            let Some(images) = images else {
                hash.update([0]);
                continue;
            };
            hash.update([1]);
            hash.update(images.chw.map(i64::to_le_bytes).concat());
            hash.update((images.labels.len() as u64).to_le_bytes());
            hash.update(&images.pixels);
            for label in &images.labels {
                hash.update(label.to_le_bytes());
            }
        }
        short(hash)
    }

    /// One split; what the source does not split is split by the hash of every image.
    pub(super) fn split(&self, path: &Path, split: Split, val_fraction: f64) -> Result<Dataset> {
        let given = match split {
            Split::Train => None,
            Split::Val => self.val.clone(),
            Split::Test => self.test.clone(),
        };
        let carved = Carved {
            val: self.val.is_none(),
            test: self.val.is_none() && self.test.is_none(),
            fraction: val_fraction,
        };
        let images = given.unwrap_or_else(|| {
            let all = &self.train;
            let size = all.image_len().max(1);
            let images = all.pixels.chunks_exact(size);
            let places = images.map(|image| carved.split(&Sha256::digest(image).into()));
            let indices: Vec<usize> = places
                .enumerate()
                .filter_map(|(i, place)| (place == split).then_some(i))
                .collect();
            all.picked(&indices)
        });
        let name = format!("{} {split}", path.display());
        let mut data = Dataset::new(name, self.train.chw, images.pixels, images.labels)?;
        data.classes.clone_from(&self.classes);
        Ok(data)
    }
}

/// What was loaded of a source.
pub(crate) struct Loaded {
    /// One for each split that was asked for.
    pub splits: Vec<Dataset>,
    pub fingerprint: String,
    pub remarks: Vec<String>,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// `[C, H, W]` of an image.
    pub chw: [i64; 3],
    /// Images of the splits train, val and test.
    pub counts: [usize; 3],
    /// What is to be known about the files, such as those that were left out.
    pub remarks: Vec<String>,
}

/// Which splits are taken from the training images, and how much of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Carved {
    pub val: bool,
    pub test: bool,
    pub fraction: f64,
}

impl Carved {
    /// The split of what has this hash: the same on every machine, in any order and among any other images.
    pub(super) fn split(self, hash: &[u8; 32]) -> Split {
        let [a, b, c, d, e, f, g, h, ..] = *hash;
        let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64 / 2f64.powi(64);
        let val = if self.val { self.fraction } else { 0.0 };
        let test = if self.test { self.fraction } else { 0.0 };
        match place {
            place if place < val => Split::Val,
            place if place < val + test => Split::Test,
            _ => Split::Train,
        }
    }
}

/// Half of a hash, in hexadecimal digits.
pub(super) fn short(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A split that a run cannot do without.
pub(super) fn not_empty(path: &Path, data: Dataset, split: Split) -> Result<Dataset> {
    if !data.is_empty() {
        return Ok(data);
    }
    Err(Error::file(
        path,
        match split {
            Split::Train => "has no training images".to_owned(),
            Split::Val => "has no validation images: use a larger --val-fraction".to_owned(),
            Split::Test => {
                "has no test images: use --split val, or a folder or arrays that have some"
                    .to_owned()
            }
        },
    ))
}
