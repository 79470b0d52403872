//! `inverse-flow data fetch` and `data verify`: download the published files of data sets, and check them.

use super::download::{download, unpack};
use crate::data::{check_md5, default_data_dir, verify, DataName, FileReport, Published};
use anyhow::{anyhow, bail, Context, Result};
use clap::{Args, ValueEnum};
use std::env;

use std::fs;

use std::path::{Path, PathBuf};

const MNIST_URL: &str = "https://ossci-datasets.s3.amazonaws.com/mnist";
const MNIST_FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];
const CIFAR10_URL: &str = "https://www.cs.toronto.edu/~kriz";
const CIFAR10_ARCHIVE: &str = "cifar-10-binary.tar.gz";
const CIFAR10_FOLDER: &str = "cifar-10-batches-bin";
const FASHION_MNIST_URL: &str = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com";
const KMNIST_URL: &str = "http://codh.rois.ac.jp/kmnist/dataset/kmnist";

/// A data set and where it is.
#[derive(Debug, Args)]
pub struct DataSet {
    /// The data set
    name: Files,
    /// Folder of the data sets [default: $INVERSE_FLOW_DATA, else data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// The data sets that consist of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Files {
    Mnist,
    Cifar10,
    FashionMnist,
    Kmnist,
    Cifar100,
}

impl Files {
    fn reports(self, dir: &Path) -> Vec<FileReport> {
        match self {
            Self::Mnist => verify(DataName::Mnist, dir),
            Self::Cifar10 => verify(DataName::Cifar10, dir),
            Self::FashionMnist => Published::FashionMnist.verify(dir),
            Self::Kmnist => Published::Kmnist.verify(dir),
            Self::Cifar100 => Published::Cifar100.verify(dir),
        }
    }

    /// As it is written on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::Cifar10 => "cifar10",
            Self::FashionMnist => "fashion-mnist",
            Self::Kmnist => "kmnist",
            Self::Cifar100 => "cifar100",
        }
    }
}

impl DataSet {
    fn dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_data_dir)
    }
}

impl DataSet {
    /// Downloads what is missing, then checks everything.
    ///
    /// # Errors
    /// A download that failed, with what to place where by hand, or a file that is wrong.
    pub fn fetch(&self) -> Result<()> {
        let (name, dir) = (self.name, self.dir());
        fetch(name, &dir).map_err(|err| anyhow!("{err:#}\n{}", by_hand(name, &dir)))?;
        self.verify()
    }

    /// Checks every file.
    ///
    /// # Errors
    /// A file that is missing or wrong.
    pub fn verify(&self) -> Result<()> {
        check(self.name, &self.dir())
    }
}

/// Prints one line for every file.
fn check(files: Files, dir: &Path) -> Result<()> {
    let (name, reports) = (files.name(), files.reports(dir));
    for report in &reports {
        let verdict = report.problem.as_deref().unwrap_or("ok");
        crate::train::say(&format!("{}: {verdict}", report.path.display()));
    }
    let wrong = reports.iter().filter(|report| !report.ok()).count();
    if wrong > 0 {
        bail!("{wrong} findings on {name} in {}; `inverse-flow data fetch {name}` downloads what is missing", dir.display());
    }
    Ok(())
}

fn fetch(files: Files, dir: &Path) -> Result<()> {
    match files {
        Files::Mnist => fetch_mnist(dir),
        Files::Cifar10 => fetch_cifar10(dir),
        Files::FashionMnist => fetch_files(Published::FashionMnist, FASHION_MNIST_URL, dir),
        Files::Kmnist => fetch_files(Published::Kmnist, KMNIST_URL, dir),
        Files::Cifar100 => fetch_cifar100(dir),
    }
}

/// What to do without a working download.
fn by_hand(files: Files, dir: &Path) -> String {
    let dir = dir.display();
    match files {
        Files::Mnist => format!("download by hand: place {} in {dir}/mnist", MNIST_FILES.join(", ")),
        Files::Cifar10 => format!("download by hand: unpack {CIFAR10_ARCHIVE} so that {dir}/{CIFAR10_FOLDER}/test_batch.bin is there"),
        Files::FashionMnist | Files::Kmnist => format!("download by hand: place {} in {dir}/{}", MNIST_FILES.join(", "), files.name()),
        Files::Cifar100 => format!("download by hand: unpack cifar-100-binary.tar.gz so that {dir}/cifar-100-binary/test.bin is there"),
    }
}

/// The address of a file below `base`, or below the folder that a variable names instead.
fn address(variable: &str, base: &str, file: &str) -> String {
    let base = env::var(variable).unwrap_or_else(|_| base.to_owned());
    format!("{}/{file}", base.trim_end_matches('/'))
}

/// A file that is there but wrong may be the user's own: it is never overwritten.
fn refuse_damaged(reports: &[FileReport]) -> Result<()> {
    match reports
        .iter()
        .find(|report| !report.ok() && report.path.exists() && report.bytes.is_some())
    {
        Some(report) => bail!(
            "{} is there but wrong ({}): move it away, then fetch again",
            report.path.display(),
            report.problem.as_deref().unwrap_or("unreadable")
        ),
        None => Ok(()),
    }
}

fn fetch_mnist(dir: &Path) -> Result<()> {
    refuse_damaged(&verify(DataName::Mnist, dir))?;
    let folder = dir.join("mnist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in MNIST_FILES {
        if folder.join(file).exists() || folder.join(file.trim_end_matches(".gz")).exists() {
            continue;
        }
        download(
            &address("INVERSE_FLOW_MNIST_URL", MNIST_URL, file),
            &folder.join(file),
        )?;
    }
    Ok(())
}

fn fetch_cifar10(dir: &Path) -> Result<()> {
    let reports = verify(DataName::Cifar10, dir);
    if reports.iter().all(FileReport::ok) {
        return Ok(());
    }
    refuse_damaged(&reports)?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let archive = dir.join(CIFAR10_ARCHIVE);
    if !archive.exists() {
        download(
            &address("INVERSE_FLOW_CIFAR10_URL", CIFAR10_URL, CIFAR10_ARCHIVE),
            &archive,
        )?;
    }
    unpack(&archive, CIFAR10_FOLDER, dir)?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}

/// Files that are read as they were published.
fn fetch_files(set: Published, base: &str, dir: &Path) -> Result<()> {
    refuse_damaged(&set.verify(dir))?;
    let folder = dir.join(set.folder());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let variable = match set {
        Published::FashionMnist => "INVERSE_FLOW_FASHION_MNIST_URL",
        Published::Kmnist => "INVERSE_FLOW_KMNIST_URL",
        Published::Cifar100 => "INVERSE_FLOW_CIFAR100_URL",
    };
    for (name, _) in set.files() {
        if !folder.join(name).exists() {
            download(&address(variable, base, name), &folder.join(name))?;
        }
    }
    Ok(())
}

fn fetch_cifar100(dir: &Path) -> Result<()> {
    let set = Published::Cifar100;
    let reports = set.verify(dir);
    if reports.iter().all(FileReport::ok) {
        return Ok(());
    }
    refuse_damaged(&reports)?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (name, md5) in set.files() {
        let archive = dir.join(name);
        if !archive.exists() {
            let url = address("INVERSE_FLOW_CIFAR100_URL", CIFAR10_URL, name);
            download(&url, &archive)?;
        }
        check_md5(&archive, md5)?;
        unpack(&archive, set.folder(), dir)?;
        fs::remove_file(&archive)
            .with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mnist/train-images-idx3-ubyte");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, b"mine").unwrap();
        let err = fetch(Files::Mnist, dir.path()).unwrap_err();
        assert!(format!("{err:#}").contains("move it away"), "{err:#}");
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }
}
