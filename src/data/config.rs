//! Which data set, from where, how much of it, and how its pictures become images of one size.

use super::{Augmentation, Background, Fit, Source};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a run learns from; saved as part of its `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The data set, or the path of files of one's own.
    pub name: Source,
    /// Folder that holds `mnist/` and `cifar-10-batches-bin/`; used by these two only.
    #[serde(default = "default_data_dir")]
    pub dir: PathBuf,
    /// Only the first so many images of every split; `None` for all.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Random shifts and flips of the training images ([`Augmentation`](super::Augmentation)).
    #[serde(default)]
    pub augment: bool,
    /// `[C, H, W]` that pictures of one's own are brought to; `None` for that of the first one.
    #[serde(default)]
    pub image: Option<[i64; 3]>,
    /// What happens to pictures of another size.
    #[serde(default)]
    pub fit: Fit,
    /// The colour behind transparent pixels and in borders.
    #[serde(default)]
    pub background: Background,
    /// Leave out files that cannot be read, instead of stopping at the first.
    #[serde(default)]
    pub skip_damaged: bool,
    /// Part of one's own images that validates, and as large a part that tests, where the files do not say themselves.
    #[serde(default = "default_val_fraction")]
    pub val_fraction: f64,
    /// `[H, W]` that every image is padded to with the background, itself in the middle.
    #[serde(default)]
    pub pad: Option<[i64; 2]>,
    /// What files of one's own held when the run began.
    #[serde(default)]
    pub fingerprint: Option<String>,
}

impl DataConfig {
    /// All images of a data set in the default folder, without augmentation.
    pub fn new(name: impl Into<Source>) -> Self {
        Self {
            name: name.into(),
            dir: default_data_dir(),
            limit: None,
            augment: false,
            image: None,
            fit: Fit::default(),
            background: Background::default(),
            skip_damaged: false,
            val_fraction: default_val_fraction(),
            pad: None,
            fingerprint: None,
        }
    }

    /// How training images of shape `chw` are changed at random, if they are.
    pub fn augmentation(&self, chw: [i64; 3]) -> Option<Augmentation> {
        self.augment.then(|| match self.name {
            Source::Known(name) => Augmentation::of(name),
            Source::Own(_) => Augmentation::customary(chw),
        })
    }

    /// Checks what no reader of files checks.
    pub(super) fn check(&self) -> Result<()> {
        if self.limit == Some(0) {
            return Err(Error::config(
                "a limit of 0 images leaves no data: use --limit 1 or more",
            ));
        }
        // as much again is for testing
        if !(0.0..0.5).contains(&self.val_fraction) {
            return Err(Error::config(format!(
                "`val_fraction` must be 0 or more and less than 0.5, got {}: as large a part tests",
                self.val_fraction
            )));
        }
        let sides = self.pad.iter().flatten();
        sides
            .chain(self.image.iter().flatten())
            .try_for_each(|side| check_side(*side))
    }
}

/// The largest side of an image, that of the largest PNG files that anybody draws.
const MOST_SIDE: i64 = 1 << 16;

/// Checks a side that images are to have.
pub(super) fn check_side(side: i64) -> Result<()> {
    match side {
        1..=MOST_SIDE => Ok(()),
        _ => Err(Error::config(format!(
            "a side of an image must be at least 1 and at most {MOST_SIDE}, not {side}: see --image and --pad"
        ))),
    }
}

fn default_val_fraction() -> f64 {
    0.1
}

/// `$INVERSE_FLOW_DATA` if it is set and not empty, else `data`.
pub fn default_data_dir() -> PathBuf {
    match std::env::var_os("INVERSE_FLOW_DATA") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => "data".into(),
    }
}
