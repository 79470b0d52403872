//! `inverse-flow data fetch` and `data verify`: download the published files of MNIST and CIFAR-10, and check them.

use crate::data::{default_data_dir, verify, DataName, FileReport};
use crate::files;
use anyhow::{anyhow, bail, Context, Result};
use clap::{Args, ValueEnum};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{stderr, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
}

impl DataSet {
    fn name(&self) -> DataName {
        match self.name {
            Files::Mnist => DataName::Mnist,
            Files::Cifar10 => DataName::Cifar10,
        }
    }

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
        check(self.name(), &self.dir())
    }
}

/// Prints one line for every file.
fn check(name: DataName, dir: &Path) -> Result<()> {
    let reports = verify(name, dir);
    for report in &reports {
        let verdict = report.problem.as_deref().unwrap_or("ok");
        println!("{}: {verdict}", report.path.display());
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
    }
}

/// What to do without a working download.
fn by_hand(files: Files, dir: &Path) -> String {
    let dir = dir.display();
    match files {
        Files::Mnist => format!("download by hand: place {} in {dir}/mnist", MNIST_FILES.join(", ")),
        Files::Cifar10 => format!("download by hand: unpack {CIFAR10_ARCHIVE} so that {dir}/{CIFAR10_FOLDER}/test_batch.bin is there"),
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
    unpack(&archive, dir)?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}

/// Unpacks beside the destination first, so that a half-unpacked folder never looks whole.
fn unpack(archive: &Path, dir: &Path) -> Result<()> {
    let scratch = dir.join("cifar-10.part");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let args = [
        OsStr::new("-xzf"),
        archive.as_ref(),
        OsStr::new("-C"),
        scratch.as_ref(),
    ];
    if let Err(err) = run("tar", &args) {
        let _ = fs::remove_dir_all(&scratch);
        // the next attempt must not meet the same broken archive
        let _ = fs::remove_file(archive);
        return Err(err.context(format!("{} cannot be unpacked", archive.display())));
    }
    let target = dir.join(CIFAR10_FOLDER);
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    for entry in
        fs::read_dir(scratch.join(CIFAR10_FOLDER)).context("the archive holds no such folder")?
    {
        let entry = entry?;
        let place = target.join(entry.file_name());
        if !place.exists() {
            files::move_into_place(&entry.path(), &place)?;
        }
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))
}

/// Downloads with curl to a `.part` file, which a second attempt continues, and renames it when it is whole.
fn download(url: &str, place: &Path) -> Result<()> {
    let part = place.with_extension("part");
    let resumed = part.exists();
    eprintln!(
        "{} {url}",
        if resumed { "continuing" } else { "downloading" }
    );
    let quiet: &[&str] = if stderr().is_terminal() {
        &["--progress-bar"]
    } else {
        &["--silent", "--show-error"]
    };
    let mut args: Vec<&OsStr> = quiet.iter().map(OsStr::new).collect();
    args.extend(
        [
            "--fail",
            "--location",
            "--retry",
            "3",
            "--connect-timeout",
            "20",
        ]
        .map(OsStr::new),
    );
    args.extend(["--continue-at", "-", "--output"].map(OsStr::new));
    args.extend([part.as_os_str(), OsStr::new(url)]);
    if let Err(err) = run("curl", &args) {
        if !resumed {
            return Err(err);
        }
        // a part that the server will not continue (whole already, or of another file) is worth one fresh start
        fs::remove_file(&part).with_context(|| format!("cannot remove {}", part.display()))?;
        run("curl", &args)?;
    }
    Ok(files::move_into_place(&part, place)?)
}

/// Runs a program; its error output shows on a terminal and is part of the error elsewhere.
fn run(program: &str, args: &[&OsStr]) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if stderr().is_terminal() {
        command.stderr(Stdio::inherit());
    }
    let result = command.output().with_context(|| {
        format!("the program `{program}` cannot be run; install it (apt-get install {program}, dnf install {program})")
    })?;
    if result.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&result.stderr);
    let why = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no message");
    bail!("{program} failed ({}): {}", result.status, why.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_renamed_when_whole_and_continued_when_not() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, b"0123456789").unwrap();
        let url = format!("file://{}", source.display());
        let place = dir.path().join("place.gz");
        fs::write(place.with_extension("part"), b"0123").unwrap();
        download(&url, &place).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"0123456789");
        assert!(!place.with_extension("part").exists());
    }

    #[test]
    fn a_failed_download_leaves_no_file_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place.gz");
        let err = download("file:///nowhere/at/all", &place).unwrap_err();
        assert!(format!("{err:#}").contains("curl failed"), "{err:#}");
        assert!(!place.exists());
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let err = run("no-such-program", &[]).unwrap_err();
        assert!(
            format!("{err:#}").contains("apt-get install no-such-program"),
            "{err:#}"
        );
    }

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
