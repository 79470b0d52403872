//! What is right and wrong with the files of a data set.

use super::files::DataFile;
use super::{cifar10, mnist, DataName};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The finding on one file, or on all training files of CIFAR-10 together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file, or the folder for a finding on several.
    pub path: PathBuf,
    /// Its size on disk; `None` if it is not there or the finding is on several.
    pub bytes: Option<u64>,
    /// What is wrong with it; `None` if nothing is.
    pub problem: Option<String>,
}

impl FileReport {
    /// Whether nothing is wrong.
    pub fn ok(&self) -> bool {
        self.problem.is_none()
    }

    fn new(file: &DataFile<'_>, outcome: Result<()>) -> Self {
        Self::of(file.path(), outcome)
    }

    /// The finding on the file `path`.
    pub(super) fn of(path: PathBuf, outcome: Result<()>) -> Self {
        Self {
            bytes: path.metadata().ok().map(|metadata| metadata.len()),
            path,
            problem: outcome.err().map(problem),
        }
    }
}

/// Reads every file of a data set under `dir` and reports on each; an empty list for `glyphs` and noise, which have none.
///
/// Beyond what [`load`](super::load) insists on, the contents must be the published ones: MNIST by the
/// CRC-32 of the pixels and labels, CIFAR-10 by the number of images of each class and the exact sum of
/// each colour over the training and the test images, so that the order of its records is free.
pub fn verify(name: DataName, dir: &Path) -> Vec<FileReport> {
    match name {
        DataName::Glyphs | DataName::Noise(_) => Vec::new(),
        DataName::Mnist => mnist::FILES
            .iter()
            .map(|file| FileReport::new(&file.at(dir), verify_mnist(file, dir)))
            .collect(),
        DataName::Cifar10 => verify_cifar10(dir),
    }
}

fn verify_mnist(file: &mnist::MnistFile, dir: &Path) -> Result<()> {
    let mut crc = flate2::Crc::new();
    crc.update(&file.read(dir)?);
    if crc.sum() == file.crc {
        return Ok(());
    }
    Err(file.at(dir).error(format!(
        "right size, but not the published MNIST: CRC-32 of the contents expected {:08x}, found {:08x}",
        file.crc,
        crc.sum()
    )))
}

/// Facts of a set of CIFAR-10 images that do not depend on their order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Census {
    /// Images of each class.
    classes: [u64; 10],
    /// Sum of all red, all green and all blue pixels.
    colours: [u64; 3],
}

impl Census {
    fn add(&mut self, images: &[u8], labels: &[u8]) {
        for &label in labels {
            self.classes[usize::from(label)] += 1;
        }
        for (plane, pixels) in images.chunks_exact(32 * 32).enumerate() {
            self.colours[plane % 3] += pixels.iter().map(|&pixel| u64::from(pixel)).sum::<u64>();
        }
    }
}

const CIFAR10_TRAIN: Census = Census {
    classes: [5_000; 10],
    colours: [6_415_714_204, 6_295_060_180, 5_829_907_619],
};

const CIFAR10_TEST: Census = Census {
    classes: [1_000; 10],
    colours: [1_290_492_328, 1_266_775_083, 1_176_108_223],
};

fn verify_cifar10(dir: &Path) -> Vec<FileReport> {
    let mut reports = Vec::new();
    let (train, test) = cifar10::FILES.split_at(5);
    for (names, published) in [(train, CIFAR10_TRAIN), (test, CIFAR10_TEST)] {
        let mut found = Census::default();
        let start = reports.len();
        for name in names {
            let outcome =
                cifar10::read(dir, name).map(|(images, labels)| found.add(&images, &labels));
            reports.push(FileReport::new(&cifar10::at(dir, name), outcome));
        }
        if reports[start..].iter().all(FileReport::ok) && found != published {
            reports.push(FileReport {
                path: dir.join(cifar10::FOLDER),
                bytes: None,
                problem: Some(format!(
                    "{} have the right sizes, but not the published contents: expected {published:?}, found {found:?}",
                    names.join(", ")
                )),
            });
        }
    }
    reports
}

/// The problem without the path, which the report names itself.
fn problem(err: Error) -> String {
    match err {
        Error::File { problem, .. } => problem,
        other => other.to_string(),
    }
}
