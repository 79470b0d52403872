//! Data sets whose files can be fetched and compared with what was published, and are read like files of one's own.
//!
//! | set | source of the checksums |
//! |---|---|
//! | Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017, <https://arxiv.org/abs/1708.07747>) | its repository's readme: MD5 of the gzipped files |
//! | Kuzushiji-MNIST (Clanuwat et al., 2018, <https://arxiv.org/abs/1812.01718>) | torchvision's list: MD5 of the gzipped files |
//! | CIFAR-100 (Krizhevsky, 2009) | its page: MD5 of the archive; of unpacked files, their sizes and 500 and 100 images a class |

use super::FileReport;
use crate::words::counted;
use crate::{Error, Result};
use md5::{Digest, Md5};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// A data set whose files are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Pictures of clothes, 1x28x28.
    FashionMnist,
    /// Cursive Japanese, 1x28x28.
    Kmnist,
    /// Photographs of 100 classes, 3x32x32.
    Cifar100,
}

/// A file and its MD5.
type Checked = (&'static str, &'static str);

const FASHION_MNIST: [Checked; 4] = [
    (
        "train-images-idx3-ubyte.gz",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ),
    (
        "train-labels-idx1-ubyte.gz",
        "25c81989df183df01b3e8a0aad5dffbe",
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        "bef4ecab320f06d8554ea6380940ec79",
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
];

const KMNIST: [Checked; 4] = [
    (
        "train-images-idx3-ubyte.gz",
        "bdb82020997e1d708af4cf47b453dcf7",
    ),
    (
        "train-labels-idx1-ubyte.gz",
        "e144d726b3acfaa3e44228e80efcd344",
    ),
    (
        "t10k-images-idx3-ubyte.gz",
        "5c965bf0a639b31b8f53240b1b52f4d7",
    ),
    (
        "t10k-labels-idx1-ubyte.gz",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
];

const CIFAR100: [Checked; 1] = [(
    "cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
)];

/// A record of CIFAR-100: a coarse label, a fine one, pixels.
const RECORD: usize = 2 + 3 * 32 * 32;

impl Published {
    /// Its folder below that of all data sets.
    pub fn folder(self) -> &'static str {
        match self {
            Self::FashionMnist => "fashion-mnist",
            Self::Kmnist => "kmnist",
            Self::Cifar100 => "cifar-100-binary",
        }
    }

    /// The files to fetch, with their MD5.
    pub fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::FashionMnist => &FASHION_MNIST,
            Self::Kmnist => &KMNIST,
            Self::Cifar100 => &CIFAR100,
        }
    }

    /// Compares every file below `dir` with what was published.
    pub fn verify(self, dir: &Path) -> Vec<FileReport> {
        let folder = dir.join(self.folder());
        let files: Vec<(&str, Result<()>)> = match self {
            Self::FashionMnist | Self::Kmnist => {
                let files = self.files().iter();
                files
                    .map(|(name, md5)| (*name, check_md5(&folder.join(name), md5)))
                    .collect()
            }
            Self::Cifar100 => [("train.bin", 500), ("test.bin", 100)]
                .map(|(name, a_class)| (name, check_cifar100(&folder.join(name), a_class)))
                .into(),
        };
        let reports = files
            .into_iter()
            .map(|(name, outcome)| FileReport::of(folder.join(name), outcome));
        reports.collect()
    }
}

/// Compares a file with its MD5.
///
/// # Errors
/// It is missing, unreadable or another one.
pub fn check_md5(path: &Path, expected: &str) -> Result<()> {
    let failed = |err: std::io::Error| Error::file(path, err);
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let (mut hash, mut bytes) = (Md5::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut bytes).map_err(failed)? {
            0 => break,
            count => hash.update(&bytes[..count]),
        }
    }
    let found: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found == expected {
        return Ok(());
    }
    Err(Error::file(
        path,
        format!("not the published file: MD5 expected {expected}, found {found}"),
    ))
}

/// Size, and as many images of every fine class as were published.
fn check_cifar100(path: &Path, a_class: usize) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|err| Error::file(path, err))?;
    let expected = 100 * a_class * RECORD;
    if bytes.len() != expected {
        let problem = format!(
            "has {}, the published file {expected}",
            counted(bytes.len(), "byte")
        );
        return Err(Error::file(path, problem));
    }
    let mut counts = [0; 256];
    for record in bytes.chunks_exact(RECORD) {
        counts[usize::from(record[1])] += 1;
    }
    match (0..100).find(|class| counts[*class] != a_class) {
        None => Ok(()),
        Some(class) => Err(Error::file(
            path,
            format!(
                "right size, but {} of class {class}, where {a_class} were published",
                counted(counts[class], "image")
            ),
        )),
    }
}
