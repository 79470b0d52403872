//! CIFAR-10 and CIFAR-100 as their archives and torchvision leave them: binary files, or Python pickles that are read for
//! their bytes and never run.
//!
//! | folder | training images | test images |
//! |---|---|---|
//! | `cifar-10-batches-bin` | `data_batch_1.bin` to `5`: a label, 3x32x32 pixels | `test_batch.bin` |
//! | `cifar-100-binary` | `train.bin`: a coarse label, a fine label, 3x32x32 pixels | `test.bin` |
//! | `cifar-10-batches-py` | `data_batch_1` to `5` | `test_batch` |
//! | `cifar-100-python` | `train` | `test` |
//!
//! The labels of CIFAR-100 are the fine ones.

use super::bytes::read_file;
use super::found::{Found, Images};
use super::pickled;
use crate::words::counted;
use crate::{Error, Result};
use std::fs;
use std::path::Path;

const PIXELS: usize = 3 * 32 * 32;

/// How the records of a layout are written.
#[derive(Debug, Clone, Copy)]
enum Records {
    /// So many bytes of labels before the pixels, the last of which is the class.
    Binary(usize),
    Pickled,
}

/// What files a layout has.
struct Layout {
    train: &'static [&'static str],
    test: &'static str,
    records: Records,
    /// The file with the names of the classes, a line each.
    names: &'static str,
}

const LAYOUTS: [Layout; 4] = [
    Layout {
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        records: Records::Binary(1),
        names: "batches.meta.txt",
    },
    Layout {
        train: &["train.bin"],
        test: "test.bin",
        records: Records::Binary(2),
        names: "fine_label_names.txt",
    },
    Layout {
        train: &[
            "data_batch_1",
            "data_batch_2",
            "data_batch_3",
            "data_batch_4",
            "data_batch_5",
        ],
        test: "test_batch",
        records: Records::Pickled,
        names: "",
    },
    Layout {
        train: &["train"],
        test: "test",
        records: Records::Pickled,
        names: "",
    },
];

/// The images of a folder in one of the layouts, `None` if it has another one.
pub(super) fn found(folder: &Path) -> Result<Option<Found>> {
    let has = |name: &str| folder.join(name).is_file();
    let Some(layout) = LAYOUTS
        .iter()
        .find(|layout| has(layout.train[0]) && has(layout.test))
    else {
        return Ok(None);
    };
    let mut train: Option<Images> = None;
    for name in layout.train {
        let path = folder.join(name);
        let images = read(&path, layout.records)?;
        train = Some(match train {
            None => images,
            Some(train) => train
                .followed_by(images)
                .map_err(|problem| Error::file(&path, problem))?,
        });
    }
    let test = read(&folder.join(layout.test), layout.records)?;
    let names = fs::read_to_string(folder.join(layout.names)).unwrap_or_default();
    let classes = names.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Some(Found {
        train: train.unwrap_or_default(),
        val: None,
        test: Some(test),
        classes: classes.map(str::to_owned).collect(),
    }))
}

fn read(path: &Path, records: Records) -> Result<Images> {
    let bytes = read_file(path)?;
    let (pixels, labels) = match records {
        Records::Binary(labels) => binary(&bytes, labels),
        Records::Pickled => pickled::read(&bytes),
    }
    .map_err(|problem| Error::file(path, problem))?;
    if labels.is_empty() || pixels.len() != labels.len() * PIXELS {
        let problem = format!(
            "holds {} of pixels and {}, which is not 3x32x32 for each",
            counted(pixels.len(), "byte"),
            counted(labels.len(), "label")
        );
        return Err(Error::file(path, problem));
    }
    Ok(Images {
        chw: [3, 32, 32],
        pixels,
        labels,
    })
}

fn binary(bytes: &[u8], labels: usize) -> Result<(Vec<u8>, Vec<u16>), String> {
    let record = labels + PIXELS;
    if !bytes.len().is_multiple_of(record) {
        return Err(format!(
            "truncated: {} are no multiple of {record}, the length of a record",
            counted(bytes.len(), "byte")
        ));
    }
    let mut pixels = Vec::with_capacity(bytes.len());
    let mut classes = Vec::new();
    for record in bytes.chunks_exact(record) {
        classes.push(record[labels - 1].into());
        pixels.extend_from_slice(&record[labels..]);
    }
    Ok((pixels, classes))
}
