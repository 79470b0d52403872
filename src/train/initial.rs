//! Fills a new model with the weights that its run begins with.

use super::fingerprint::file_fingerprint;
use super::load::{load_into, load_part_into};
use super::{find_checkpoint, InitFrom};
use crate::models::MultiScale;
use crate::weights::{Report, StateFile};
use crate::{Error, Result};
use tch::nn::VarStore;

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
