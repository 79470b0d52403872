//! The data sets there are.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
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

/// What the labels of CIFAR-10 stand for.
const CIFAR10: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

impl DataName {
    /// The names of the classes that the labels number; none for random images.
    pub fn classes(self) -> Vec<String> {
        match self {
            Self::Glyphs | Self::Mnist => (0..10).map(|digit| digit.to_string()).collect(),
            Self::Cifar10 => CIFAR10.map(str::to_owned).to_vec(),
            Self::Noise(_) => Vec::new(),
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
