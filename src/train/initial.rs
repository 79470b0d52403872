//! The weights that a new run begins with.

use super::fingerprint::file_fingerprint;
use super::load::{load_into, load_part_into};
use super::{find_checkpoint, Weights};
use crate::models::MultiScale;
use crate::weights::{Report, StateFile};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tch::nn::VarStore;

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

impl InitFrom {
    /// Opens the file.
    ///
    /// # Errors
    /// It is missing, damaged or of a format that is not read, or it has no such key or prefix.
    pub fn open(&self) -> Result<StateFile> {
        let mut file = StateFile::open(&find_checkpoint(&self.from)?)?;
        if let Some(key) = &self.key {
            file.choose(key)?;
        }
        if let Some(prefix) = &self.prefix {
            file.below(prefix)?;
        }
        Ok(file)
    }

    /// Fills a model with the weights of the file, and notes which file it was.
    ///
    /// # Errors
    /// A file of another model, or not the one that was noted before; then the model is not changed.
    pub fn fill(&mut self, model: &MultiScale, vs: &VarStore) -> Result<Report> {
        let file = self.open()?;
        let found = file_fingerprint(file.path())?;
        if self
            .fingerprint
            .as_ref()
            .is_some_and(|known| *known != found)
        {
            let problem = "is another file than the one that this configuration began with: remove `init_from.fingerprint` from the configuration to begin with this one";
            return Err(Error::file(file.path(), problem));
        }
        let report = match self.partial {
            true => load_part_into(&file, model, vs, self.weights),
            false => load_into(&file, model, vs, self.weights).map_err(|err| match err {
                Error::File { path, problem } => Error::File {
                    path,
                    problem: format!("{problem}; --partial takes what fits"),
                },
                other => other,
            }),
        }?;
        self.fingerprint = Some(found);
        Ok(report)
    }
}
