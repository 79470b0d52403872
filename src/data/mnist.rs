//! MNIST from its four canonical files in `mnist/`, plain or gzipped.
//!
//! LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits, 1998. The first 50,000 training
//! images are the training split, the last 10,000 the validation split.

use super::files::DataFile;
use super::{idx, DataName, Dataset, Split};
use crate::Result;
use std::path::Path;

/// Folder of the files.
pub(super) const FOLDER: &str = "mnist";

/// Training images without the validation split.
const TRAIN: usize = 50_000;

/// One half of a pair of files.
#[derive(Debug)]
pub(super) struct MnistFile {
    /// Its name, without `.gz`.
    pub name: &'static str,
    /// Its dimensions.
    pub dims: &'static [u32],
    /// CRC-32 of the elements, without the header, in the published file.
    pub crc: u32,
}

/// The four files: training images and labels, test images and labels.
pub(super) const FILES: [MnistFile; 4] = [
    MnistFile {
        name: "train-images-idx3-ubyte",
        dims: &[60_000, 28, 28],
        crc: 0xf363_9b56,
    },
    MnistFile {
        name: "train-labels-idx1-ubyte",
        dims: &[60_000],
        crc: 0xba07_e8ef,
    },
    MnistFile {
        name: "t10k-images-idx3-ubyte",
        dims: &[10_000, 28, 28],
        crc: 0xe4ca_5f57,
    },
    MnistFile {
        name: "t10k-labels-idx1-ubyte",
        dims: &[10_000],
        crc: 0xee86_04d9,
    },
];

impl MnistFile {
    /// The file in `root`.
    pub fn at<'a>(&self, root: &'a Path) -> DataFile<'a> {
        DataFile {
            data: DataName::Mnist,
            root,
            folder: FOLDER,
            also_in: &["MNIST/raw"],
            name: self.name,
        }
    }

    /// Its elements; labels are checked to be digits.
    pub fn read(&self, root: &Path) -> Result<Vec<u8>> {
        let file = self.at(root);
        let elements = idx::read(&file, self.dims)?;
        if self.dims.len() == 1 {
            file.check_labels(&elements)?;
        }
        Ok(elements)
    }
}

/// One split, at most the first `limit` images of it.
pub(super) fn load(root: &Path, split: Split, limit: Option<usize>) -> Result<Dataset> {
    let [train_images, train_labels, test_images, test_labels] = &FILES;
    let (images, labels, range) = match split {
        Split::Train => (train_images, train_labels, 0..TRAIN),
        Split::Val => (train_images, train_labels, TRAIN..usize::MAX),
        Split::Test => (test_images, test_labels, 0..usize::MAX),
    };
    let all = Dataset::new(
        format!("mnist {split}"),
        DataName::Mnist.chw(),
        images.read(root)?,
        labels.read(root)?.into_iter().map(u16::from).collect(),
    )?;
    let end = limit.map_or(range.end, |limit| {
        range.end.min(range.start.saturating_add(limit))
    });
    Ok(all.subset(range.start..end))
}
