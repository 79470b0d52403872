//! Checkpoints: one safetensors file with the model, the optimiser, the configuration and the place in the run.
//!
//! | key | content |
//! |---|---|
//! | `NAME` | every variable and buffer of the model |
//! | `optim.exp_avg.NAME`, `optim.exp_avg_sq.NAME`, `optim.step` | Adam's state |
//! | `ema.NAME` | the [average](Averages) of every parameter, with `train.ema` |
//! | metadata `format`, `config`, `progress` | [version](FileKind), [`RunConfig`] and [`Progress`] as JSON |
//! | metadata `crc32` | a checksum for each tensor and each text |
//!
//! A model alone has neither the optimiser nor the progress.
//!
//! A file appears under its name when it is whole and on the disk, so that there is a whole checkpoint at any time,
//! whatever happens to the process.

use super::averages::AVERAGE;
use super::format::{stored_config, FileKind};
use super::{Averages, Learner, RunConfig, Weights};
use crate::models::MultiScale;
use crate::torchscript::{archive, Solve, Value};
use crate::weights::{
    write_safetensors, write_state_dict, Naming, Report, StateFile, CONFIG_ATTRIBUTE,
};
use crate::{files, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{nn::VarStore, Tensor};

/// What the keys of the optimiser begin with.
pub(super) const OPTIM: &str = "optim.";

/// Where a run is; all that resuming needs besides the tensors, since every random number is a function of the
/// seed and of these counters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimiser steps done, skipped ones included.
    pub step: u64,
    /// The epoch in progress, counted from 1.
    pub epoch: u64,
    /// Batches of that epoch done.
    pub batch: u64,
    /// Lowest validation bits per dimension so far.
    pub best_bpd: Option<f64>,
    /// Validations in a row that have not improved, for `train.patience`.
    #[serde(default)]
    pub without_improvement: u64,
    /// Steps skipped because loss or gradient were not finite.
    pub skipped: u64,
    /// How many of them are the latest ones in a row.
    pub skipped_in_row: u64,
    /// Time spent in all sessions, seconds.
    pub seconds: f64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            step: 0,
            epoch: 1,
            batch: 0,
            best_bpd: None,
            without_improvement: 0,
            skipped: 0,
            skipped_in_row: 0,
            seconds: 0.0,
        }
    }
}

impl Progress {
    /// The same place where batches have `new` images instead of `old`: where these do not divide what the epoch has seen, it
    /// goes on with the next batch that begins among unseen images.
    pub(super) fn with_batches_of(self, new: usize, old: usize) -> Self {
        let seen = self.batch.saturating_mul(old as u64);
        Self {
            batch: seen.div_ceil(new.max(1) as u64),
            ..self
        }
    }

    /// The same place where validations have reached `bpd`: one that was ended before the checkpoint after it counts.
    pub(super) fn with_best_of(self, bpd: Option<f64>) -> Self {
        let both = [self.best_bpd, bpd].into_iter().flatten();
        Self {
            best_bpd: both.reduce(f64::min),
            ..self
        }
    }
}

/// Writes a checkpoint that [`Checkpoint::open`] reads back.
///
/// # Errors
/// The file cannot be written; an older one in its place is left as it was.
pub fn save(path: &Path, learner: &Learner, config: &RunConfig, progress: &Progress) -> Result<()> {
    let tensors = state(learner).collect();
    let progress = serde_json::to_string(progress).map_err(|err| Error::file(path, err))?;
    let mut metadata = metadata(FileKind::Checkpoint, config)?;
    metadata.insert("progress".to_owned(), progress);
    write_safetensors(path, tensors, metadata)
}

/// Writes a model alone, for evaluation and for other programs.
///
/// # Errors
/// As [`save`].
pub fn save_model(path: &Path, vs: &VarStore, config: &RunConfig) -> Result<()> {
    let tensors = vs.variables().into_iter().collect();
    write_safetensors(path, tensors, metadata(FileKind::Model, config)?)
}

/// Writes `flow` as a TorchScript program with its variables and configuration: see
/// [`archive`](crate::torchscript::archive()).
///
/// # Errors
/// The file cannot be written, a layer has no TorchScript, or the model has not seen its first batch.
pub fn save_torchscript(
    path: &Path,
    flow: &MultiScale,
    vs: &VarStore,
    config: &RunConfig,
    solve: Solve,
) -> Result<()> {
    let extra = about(FileKind::TorchScript, config);
    // an attribute is saved again by who loads the program in Python, the file beside it is not
    let attribute = Value {
        kind: "str",
        text: format!("'{}'", extra.replace('\\', r"\\").replace('\'', r"\'")),
    };
    let script = flow.torchscript()?.with(CONFIG_ATTRIBUTE, attribute);
    files::write(path, archive(&script, vs, &extra, solve)?)
}

/// Writes a model as `torch.save(model.state_dict(), FILE)` does; the configuration lies where PyTorch does not look.
///
/// # Errors
/// As [`save`].
pub fn save_state_dict(path: &Path, vs: &VarStore, config: &RunConfig) -> Result<()> {
    let tensors = vs.variables().into_iter().collect();
    write_state_dict(path, tensors, &about(FileKind::StateDict, config))
}

/// What a file of PyTorch says of itself in our words.
fn about(kind: FileKind, config: &RunConfig) -> String {
    json!({ "format": kind.label(), "config": config }).to_string()
}

/// What stands beside the tensors of every file.
fn metadata(kind: FileKind, config: &RunConfig) -> Result<HashMap<String, String>> {
    Ok(HashMap::from([
        ("format".to_owned(), kind.label()),
        ("config".to_owned(), config.to_json()?),
    ]))
}

/// An opened checkpoint: checked as a file, not yet against a model.
#[derive(Debug)]
pub struct Checkpoint {
    file: StateFile,
    /// What the run was made of.
    pub config: RunConfig,
    /// How far it had come.
    pub progress: Progress,
}

impl Checkpoint {
    /// Reads a checkpoint's metadata; its numbers stay on the disk.
    ///
    /// # Errors
    /// The file is missing, cut off, not safetensors, not a checkpoint, or one of a later version.
    pub fn open(path: &Path) -> Result<Self> {
        let file = StateFile::open(path)?;
        let Some(config) = stored_config(&file)? else {
            let problem =
                "not a checkpoint of inverse-flow: no `format` of ours in the file's metadata";
            return Err(Error::file(path, problem));
        };
        let Some(progress) = stored_progress(&file)? else {
            let problem =
                "is a model without the state of its run: it can be evaluated, not resumed";
            return Err(Error::file(path, problem));
        };
        Ok(Self {
            file,
            config,
            progress,
        })
    }

    /// The file.
    pub fn path(&self) -> &PathBuf {
        self.file.path()
    }

    /// Fills the variables and buffers of a model, the parameters with their averages if there are any.
    ///
    /// # Errors
    /// Keys that are missing, unexpected, or of another shape or kind, all of them listed; then nothing is changed.
    pub fn load_model(&self, vs: &VarStore) -> Result<Report> {
        let targets = vs.variables().into_iter().collect();
        self.file.load(targets, own(Weights::Averaged))
    }

    /// Fills a model, its optimiser and its averages, to the bit. Averages that the file does not have begin with the
    /// parameters.
    ///
    /// # Errors
    /// As [`load_model`](Self::load_model).
    pub fn load(&self, learner: &mut Learner) -> Result<Report> {
        let file = &self.file;
        let averaged = has_averages(file);
        let others: &[&str] = match (&learner.averages, averaged) {
            (None, true) => &[AVERAGE],
            _ => &[],
        };
        let naming = Naming::Own {
            others,
            instead: None,
            exact: true,
        };
        let targets = state(learner).filter(|(name, _)| averaged || !name.starts_with(AVERAGE));
        let report = file.load(targets.collect(), naming)?;
        match &mut learner.averages {
            Some(averages) if !averaged => averages.restart(&learner.adam)?,
            _ => {}
        }
        Ok(report)
    }
}

/// The names in a file of ours, for a model alone.
pub(super) fn own(weights: Weights) -> Naming<'static> {
    Naming::Own {
        others: &[OPTIM, AVERAGE],
        instead: match weights {
            Weights::Averaged => Some(AVERAGE),
            Weights::Last => None,
        },
        exact: false,
    }
}

/// Whether a checkpoint has averages of its parameters.
pub(super) fn has_averages(file: &StateFile) -> bool {
    file.tensors().keys().any(|key| key.starts_with(AVERAGE))
}

/// Where the run of a checkpoint was; `None` for a model alone.
///
/// # Errors
/// A progress that is damaged.
pub fn stored_progress(file: &StateFile) -> Result<Option<Progress>> {
    let Some(text) = file.metadata("progress") else {
        return Ok(None);
    };
    let progress = serde_json::from_str(text);
    let progress = progress.map_err(|err| Error::file(file.path(), format!("progress: {err}")))?;
    Ok(Some(progress))
}

/// All tensors of a run under the names that they have in a checkpoint.
pub(super) fn state(learner: &Learner) -> impl Iterator<Item = (String, Tensor)> {
    let front = |front: &'static str| {
        move |(name, tensor): (String, Tensor)| (format!("{front}{name}"), tensor)
    };
    let averages = learner.averages.as_ref().map(Averages::state);
    let variables = learner.vs.variables().into_iter();
    variables
        .chain(learner.adam.state().into_iter().map(front(OPTIM)))
        .chain(averages.into_iter().flatten().map(front(AVERAGE)))
}
