//! The folder of a run.

use super::{lock, tensorboard, RunConfig};
use crate::{files, Error, Result};
use std::path::{Path, PathBuf};

/// Paths inside a run folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

/// Whether this is what a run leaves that ended before it had written anything.
fn is_nothing(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    let is_empty = |folder| {
        let mut inside = std::fs::read_dir(folder).into_iter().flatten();
        inside.all(|entry| entry.is_ok_and(|entry| is_nothing(&entry)))
    };
    match &*name {
        "checkpoints" | "samples" => entry.path().is_dir() && is_empty(entry.path()),
        name => name == lock::NAME || files::is_unfinished(name),
    }
}

impl RunDir {
    /// Checks that a new run may be made in `root`, without changing anything.
    ///
    /// # Errors
    /// There is a run in it and `overwrite` is not set; it holds something else; it cannot be read.
    pub fn check_free(root: &Path, overwrite: bool) -> Result<()> {
        if !root.exists() {
            return Ok(());
        }
        let content = std::fs::read_dir(root).map_err(|err| Error::file(root, err))?;
        // what cannot be read is there
        if content
            .into_iter()
            .all(|entry| entry.is_ok_and(|entry| is_nothing(&entry)))
        {
            return Ok(());
        }
        if !Self::is_run(root) {
            let problem = "is not empty and holds no run: choose another folder for --out";
            return Err(Error::file(root, problem));
        }
        if !overwrite {
            let problem = "already holds a run: continue it with --resume, replace it with --overwrite, or choose another --out";
            return Err(Error::file(root, problem));
        }
        Ok(())
    }

    /// Whether `root` holds what a run has written, and not only a file of the same name.
    fn is_run(root: &Path) -> bool {
        let run = Self(root.to_path_buf());
        let config = std::fs::read_to_string(run.config());
        run.last().exists() || config.is_ok_and(|text| RunConfig::from_json(&text).is_ok())
    }

    /// Makes the folder of a new run, without the files of an older one. What others have put there stays.
    ///
    /// # Errors
    /// As [`check_free`](Self::check_free), or it cannot be written.
    pub fn create(root: &Path, overwrite: bool) -> Result<Self> {
        Self::check_free(root, overwrite)?;
        let run = Self(root.to_path_buf());
        for (folder, wrote) in [
            ("checkpoints", wrote_checkpoint as fn(&str) -> bool),
            ("samples", wrote_samples),
        ] {
            let folder = root.join(folder);
            let failed = |err: std::io::Error| Error::file(&folder, err);
            std::fs::create_dir_all(&folder).map_err(failed)?;
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if name.to_str().is_some_and(wrote) {
                    std::fs::remove_file(folder.join(name)).map_err(failed)?;
                }
            }
        }
        for file in tensorboard::files(root)? {
            std::fs::remove_file(&file).map_err(|err| Error::file(&file, err))?;
        }
        for file in [run.metrics(), run.curves(), run.config()] {
            if file.exists() {
                std::fs::remove_file(&file).map_err(|err| Error::file(&file, err))?;
            }
        }
        Ok(run)
    }

    /// Keeps the last checkpoint, which is that of `step`, under a name of its own, and of all such ones the latest `most`.
    pub(super) fn keep(&self, step: u64, most: usize) -> Result<()> {
        let kept = self.kept(step);
        files::keep(&self.last(), &kept)?;
        let folder = self.0.join("checkpoints");
        let failed = |err: std::io::Error| Error::file(&folder, err);
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            steps.extend(name.to_str().and_then(step_of_kept));
        }
        steps.sort_unstable();
        for step in steps.iter().rev().skip(most) {
            let old = self.kept(*step);
            std::fs::remove_file(&old).map_err(|err| Error::file(&old, err))?;
        }
        Ok(())
    }

    /// The folder of a run that exists.
    ///
    /// # Errors
    /// There is no run in `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let run = Self(root.to_path_buf());
        if !run.config().exists() && !run.last().exists() {
            let problem = "is not a run folder: no config.json in it";
            return Err(Error::file(root, problem));
        }
        Ok(run)
    }

    /// The folder of a run that another process keeps: nothing is looked for in it.
    pub fn elsewhere(root: &Path) -> Self {
        Self(root.to_path_buf())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// `config.json`.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// `curves.png`.
    pub fn curves(&self) -> PathBuf {
        self.0.join("curves.png")
    }

    /// `checkpoints/last.safetensors`.
    pub fn last(&self) -> PathBuf {
        self.0.join("checkpoints/last.safetensors")
    }

    /// `checkpoints/best.safetensors`.
    pub fn best(&self) -> PathBuf {
        self.0.join("checkpoints/best.safetensors")
    }

    /// `checkpoints/step-00000001.safetensors`, of those that are kept beside the last one.
    pub fn kept(&self, step: u64) -> PathBuf {
        self.0
            .join(format!("checkpoints/step-{step:08}.safetensors"))
    }

    /// `samples/epoch-0001.png`.
    pub fn samples(&self, epoch: u64) -> PathBuf {
        self.0.join(format!("samples/epoch-{epoch:04}.png"))
    }
}

/// The step of a checkpoint that is kept, by its name.
fn step_of_kept(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
    digits.parse().ok()
}

fn wrote_checkpoint(name: &str) -> bool {
    ["last.safetensors", "best.safetensors"].contains(&name) || step_of_kept(name).is_some()
}

fn wrote_samples(name: &str) -> bool {
    let digits = name
        .strip_prefix("epoch-")
        .and_then(|name| name.strip_suffix(".png"));
    digits.is_some_and(|digits| digits.parse::<u64>().is_ok())
}

/// The checkpoint that a command's `RUN|FILE` means: a file itself; of a run its best one, or its last one as long
/// as none was validated.
///
/// # Errors
/// There is no such file or folder, or no checkpoint in the folder.
pub fn find_checkpoint(path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        let problem = "no such file or run folder";
        return Err(Error::file(path, problem));
    }
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let run = RunDir::open(path)?;
    [run.best(), run.last()]
        .into_iter()
        .find(|file| file.exists())
        .ok_or_else(|| Error::file(path, "has no checkpoint yet: train it first"))
}
