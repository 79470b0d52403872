//! The flags of `train` about the weights that a new run begins with.

use crate::train::{stored_config, InitFrom, RunConfig, Weights};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Where the first weights come from.
#[derive(Debug, Args)]
#[group(id = "Initial", multiple = true)]
pub struct Initial {
    /// Begin with the weights of a run or a file, of ours or of PyTorch, instead of random ones
    #[arg(long, value_name = "RUN|FILE", conflicts_with = "resume")]
    init_from: Option<PathBuf>,
    /// Take the weights that fit, and say which do not
    #[arg(long, requires = "init_from")]
    partial: bool,
    /// Where in that file they lie, as inspect lists it [default: where they fit]
    #[arg(long, value_name = "PATH", requires = "init_from")]
    key: Option<String>,
    /// Read only those whose names begin so, without it [default: what all names share]
    #[arg(long, value_name = "TEXT", requires = "init_from")]
    prefix: Option<String>,
    /// Take the weights of its last step, not their averages
    #[arg(long, requires = "init_from")]
    no_ema: bool,
}

impl Initial {
    /// Whether there is a file.
    pub fn is_given(&self) -> bool {
        self.init_from.is_some()
    }

    /// What was asked for.
    pub fn given(&self) -> Result<Option<InitFrom>> {
        let Some(path) = &self.init_from else {
            return Ok(None);
        };
        let from = std::path::absolute(path).map_err(|err| Error::file(path, err))?;
        Ok(Some(InitFrom {
            from,
            key: self.key.clone(),
            prefix: self.prefix.clone(),
            weights: match self.no_ema {
                true => Weights::Last,
                false => Weights::Averaged,
            },
            partial: self.partial,
            fingerprint: None,
        }))
    }

    /// The configuration of the run that wrote the file, for a new run.
    pub fn config(&self) -> Result<Option<RunConfig>> {
        let Some(initial) = self.given()? else {
            return Ok(None);
        };
        let file = initial.open()?;
        let Some(mut config) = stored_config(&file)? else {
            let problem = file.nothing().unwrap_or("does not say what model it holds: add --preset P, --model M or --config F; `inverse-flow inspect FILE` lists what is in it");
            return Err(Error::file(file.path(), problem));
        };
        config.changes.clear();
        // the same data may have grown since
        config.data.fingerprint = None;
        Ok(Some(config))
    }
}
