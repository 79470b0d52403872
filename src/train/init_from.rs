//! Which weights a run begins with, as its configuration says.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which parameters of a checkpoint, where it has two of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// Their averages over the last steps, if there are any: what a run validates and samples with.
    #[default]
    Averaged,
    /// Those after the last step.
    Last,
}

/// A file whose weights a run begins with, in the place of random ones: fine-tuning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitFrom {
    /// A run folder, of which the best checkpoint is taken, or a file of any [format](crate::weights::Format).
    pub from: PathBuf,
    /// Where in the file the weights lie; `None` for where they fit.
    #[serde(default)]
    pub key: Option<String>,
    /// What the names begin with that are read; `None` for what all of them share.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Which parameters of a checkpoint.
    #[serde(default)]
    pub weights: Weights,
    /// Take what fits and leave the rest as in a new model.
    #[serde(default)]
    pub partial: bool,
    /// The file, once it has been read: half of its SHA-256.
    #[serde(default)]
    pub fingerprint: Option<String>,
}
