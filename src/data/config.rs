//! Which data set, from where, and how much of it.

use super::{cifar10, glyphs, mnist, Dataset, Split, Splits};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataName {
    /// Drawn digits, 1x28x28; no files needed.
    Glyphs,
    /// MNIST (LeCun, Cortes and Burges), 1x28x28: 50,000 / 10,000 / 10,000 images.
    Mnist,
    /// CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), 3x32x32:
    /// 40,000 / 10,000 / 10,000 images.
    Cifar10,
}

impl DataName {
    /// `[C, H, W]` of an image.
    pub fn chw(self) -> [i64; 3] {
        match self {
            Self::Glyphs | Self::Mnist => [1, 28, 28],
            Self::Cifar10 => [3, 32, 32],
        }
    }
}

impl fmt::Display for DataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glyphs => "glyphs",
            Self::Mnist => "mnist",
            Self::Cifar10 => "cifar10",
        })
    }
}

impl FromStr for DataName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "glyphs" => Ok(Self::Glyphs),
            "mnist" => Ok(Self::Mnist),
            "cifar10" => Ok(Self::Cifar10),
            _ => Err(Error::config(format!(
                "unknown data set `{text}`: choose glyphs, mnist or cifar10"
            ))),
        }
    }
}

/// What a run learns from; saved as part of its `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The data set.
    pub name: DataName,
    /// Folder that holds `mnist/` and `cifar-10-batches-bin/`; not used by `glyphs`.
    #[serde(default = "default_data_dir")]
    pub dir: PathBuf,
    /// Only the first so many images of every split; `None` for all.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Random shifts and flips of the training images ([`Augmentation`](super::Augmentation)).
    #[serde(default)]
    pub augment: bool,
}

impl DataConfig {
    /// All images of a data set in the default folder, without augmentation.
    pub fn new(name: DataName) -> Self {
        Self {
            name,
            dir: default_data_dir(),
            limit: None,
            augment: false,
        }
    }
}

/// `$INVERSE_FLOW_DATA` if it is set and not empty, else `data`.
pub fn default_data_dir() -> PathBuf {
    match std::env::var_os("INVERSE_FLOW_DATA") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => "data".into(),
    }
}

/// All three splits.
///
/// `seed` decides what `glyphs` draws and has no effect on the other data sets.
///
/// # Errors
/// As [`load_split`].
pub fn load(config: &DataConfig, seed: u64) -> Result<Splits> {
    Ok(Splits {
        train: load_split(config, seed, Split::Train)?,
        val: load_split(config, seed, Split::Val)?,
        test: load_split(config, seed, Split::Test)?,
    })
}

/// One split; reads only the files that hold it.
///
/// # Errors
/// A limit of 0, or a file that is missing or not what it should be.
pub fn load_split(config: &DataConfig, seed: u64, split: Split) -> Result<Dataset> {
    if config.limit == Some(0) {
        return Err(Error::config(
            "a limit of 0 images leaves no data: use --limit 1 or more",
        ));
    }
    match config.name {
        DataName::Glyphs => glyphs::load(seed, split, config.limit),
        DataName::Mnist => mnist::load(&config.dir, split, config.limit),
        DataName::Cifar10 => cifar10::load(&config.dir, split, config.limit),
    }
    .map_err(|err| with_way_out(config, err))
}

/// Adds to a problem with a file what to do about it.
fn with_way_out(config: &DataConfig, err: Error) -> Error {
    let Error::File { path, problem } = err else {
        return err;
    };
    let (name, dir) = (config.name, config.dir.display());
    Error::file(
        path,
        format!("{problem}\n`inverse-flow data verify {name} --data-dir {dir}` checks all files, `inverse-flow data fetch {name} --data-dir {dir}` gets them"),
    )
}
