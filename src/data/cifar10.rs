//! CIFAR-10 from its six canonical binary files in `cifar-10-batches-bin/`, plain or gzipped.
//!
//! Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. A file holds 10,000 records of
//! one label byte and 3 x 32 x 32 pixels, channel by channel. The last 10,000 of the 50,000 training
//! images, which are the fifth file, are the validation split.

use super::files::DataFile;
use super::{DataName, Dataset, Split};
use crate::Result;
use std::path::Path;

/// Folder of the files.
pub(super) const FOLDER: &str = "cifar-10-batches-bin";

/// The files: five with training images, one with test images.
pub(super) const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

const RECORDS: usize = 10_000;
const PIXELS: usize = 3 * 32 * 32;

/// The file called `name` in `root`.
pub(super) fn at<'a>(root: &'a Path, name: &'a str) -> DataFile<'a> {
    DataFile {
        data: DataName::Cifar10,
        root,
        folder: FOLDER,
        also_in: &[],
        name,
    }
}

/// The whole file, pixels and labels apart.
pub(super) fn read(root: &Path, name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let file = at(root, name);
    let records = file.read(0, RECORDS * (1 + PIXELS), |_| Ok(()))?;
    let mut images = Vec::with_capacity(RECORDS * PIXELS);
    let mut labels = Vec::with_capacity(RECORDS);
    for record in records.chunks_exact(1 + PIXELS) {
        labels.push(record[0]);
        images.extend_from_slice(&record[1..]);
    }
    file.check_labels(&labels)?;
    Ok((images, labels))
}

/// One split, at most the first `limit` images of it; files past the limit are not read.
pub(super) fn load(root: &Path, split: Split, limit: Option<usize>) -> Result<Dataset> {
    let files = match split {
        Split::Train => &FILES[..4],
        Split::Val => &FILES[4..5],
        Split::Test => &FILES[5..],
    };
    let limit = limit.unwrap_or(usize::MAX);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for name in &files[..files.len().min(limit.div_ceil(RECORDS))] {
        let (pixels, classes) = read(root, name)?;
        images.extend(pixels);
        labels.extend(classes.into_iter().map(u16::from));
    }
    let all = Dataset::new(
        format!("cifar10 {split}"),
        DataName::Cifar10.chw(),
        images,
        labels,
    )?;
    Ok(all.subset(0..limit))
}
