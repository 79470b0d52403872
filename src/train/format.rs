//! The versions of this crate's own files, in one place.
//!
//! Every file that the program writes says `inverse-flow KIND VERSION` beside its tensors, and which configuration they
//! belong to. A version is raised when the layout changes: other names or shapes of the variables, other metadata. A
//! reader keeps reading all earlier versions: what an old one needs is done here, where it is recognised.

use super::RunConfig;
use crate::weights::StateFile;
use crate::{Error, Result};

/// What a file of ours holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Model, optimiser, configuration and progress: what a run goes on from.
    Checkpoint,
    /// Model and configuration.
    Model,
    /// Model and configuration in a TorchScript program.
    TorchScript,
    /// Model and configuration in a state dictionary of PyTorch.
    StateDict,
}

/// The current version of all of them.
const VERSION: u32 = 1;

impl FileKind {
    /// The text in the file.
    pub fn label(self) -> String {
        let kind = match self {
            Self::Checkpoint => "checkpoint",
            Self::Model => "model",
            Self::TorchScript => "torchscript",
            Self::StateDict => "state dict",
        };
        format!("inverse-flow {kind} {VERSION}")
    }

    /// What a file says it is; `None` if no program of ours wrote it.
    ///
    /// # Errors
    /// A version that only a later program reads.
    pub fn of(file: &StateFile) -> Result<Option<Self>> {
        let Some(format) = file.metadata("format") else {
            return Ok(None);
        };
        let Some(rest) = format.strip_prefix("inverse-flow ") else {
            return Ok(None);
        };
        let (kind, version) = rest.rsplit_once(' ').unwrap_or((rest, ""));
        let kind = match kind {
            "checkpoint" => Some(Self::Checkpoint),
            "model" => Some(Self::Model),
            "torchscript" => Some(Self::TorchScript),
            "state dict" => Some(Self::StateDict),
            _ => None,
        };
        let version = version.parse().ok().filter(|v| (1..=VERSION).contains(v));
        match (kind, version) {
            (Some(kind), Some(_)) => Ok(Some(kind)),
            _ => {
                let known = [
                    Self::Checkpoint,
                    Self::Model,
                    Self::TorchScript,
                    Self::StateDict,
                ];
                let known = known.map(|kind| format!("`{}`", kind.label())).join(", ");
                let problem = format!(
                    "is a `{format}`; this program reads {known}: use the program that wrote it, or a newer one"
                );
                Err(Error::file(file.path(), problem))
            }
        }
    }
}

/// The configuration in a file of ours; `None` for one of another program.
///
/// # Errors
/// A version that only a later program reads, or a configuration that is damaged.
pub fn stored_config(file: &StateFile) -> Result<Option<RunConfig>> {
    if FileKind::of(file)?.is_none() {
        return Ok(None);
    }
    let Some(text) = file.metadata("config") else {
        let problem = "not a checkpoint of inverse-flow: no `config` in the file's metadata";
        return Err(Error::file(file.path(), problem));
    };
    let config = RunConfig::from_json(text).map_err(|err| Error::file(file.path(), err))?;
    Ok(Some(config))
}
