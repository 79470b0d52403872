//! The record of what was changed in a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A setting that was changed when a run went on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Steps that the run had done.
    pub step: u64,
    /// The setting, as `train.lr`.
    pub key: String,
    /// What it was.
    pub from: Value,
    /// What it has been since then.
    pub to: Value,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {} and is {} now", self.key, self.from, self.to)
    }
}
