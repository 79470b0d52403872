//! Which data set, from where, and how much of it.

use super::{cifar10, glyphs, mnist, noise, Dataset, Split, Splits};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DataName {
    /// Drawn digits, 1x28x28; no files needed.
    Glyphs,
    /// MNIST (LeCun, Cortes and Burges), 1x28x28: 50,000 / 10,000 / 10,000 images.
    Mnist,
    /// CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), 3x32x32:
    /// 40,000 / 10,000 / 10,000 images.
    Cifar10,
    /// Uniformly random pixels, 3 x side x side, written `noise32`: for measurements of time and memory at any size. There
    /// is nothing to learn from them but that they are uniform, 8 bits per dimension.
    Noise(u16),
}

/// The largest side of random images.
const LARGEST_NOISE: u16 = 1024;

impl DataName {
    /// `[C, H, W]` of an image.
    pub fn chw(self) -> [i64; 3] {
        match self {
            Self::Glyphs | Self::Mnist => [1, 28, 28],
            Self::Cifar10 => [3, 32, 32],
            Self::Noise(side) => [3, side.into(), side.into()],
        }
    }
}

impl fmt::Display for DataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glyphs => f.write_str("glyphs"),
            Self::Mnist => f.write_str("mnist"),
            Self::Cifar10 => f.write_str("cifar10"),
            Self::Noise(side) => write!(f, "noise{side}"),
        }
    }
}

impl FromStr for DataName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "glyphs" => Ok(Self::Glyphs),
            "mnist" => Ok(Self::Mnist),
            "cifar10" => Ok(Self::Cifar10),
            _ => {
                let side = text
                    .strip_prefix("noise")
                    .and_then(|side| side.parse().ok());
                match side {
                    Some(side) if (1..=LARGEST_NOISE).contains(&side) => Ok(Self::Noise(side)),
                    _ => Err(Error::config(format!(
                        "unknown data set `{text}`: choose glyphs, mnist or cifar10; noise64 is random images of 3x64x64"
                    ))),
                }
            }
        }
    }
}

impl TryFrom<String> for DataName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DataName> for String {
    fn from(name: DataName) -> Self {
        name.to_string()
    }
}

/// What a run learns from; saved as part of its `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The data set.
    pub name: DataName,
    /// Folder that holds `mnist/` and `cifar-10-batches-bin/`; not used by `glyphs` and noise.
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
/// `seed` decides what `glyphs` and noise draw and has no effect on the other data sets.
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
        DataName::Noise(_) => noise::load(config.name, seed, split, config.limit),
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
