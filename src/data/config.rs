//! Which data set, from where, and how much of it.

use super::DataName;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
