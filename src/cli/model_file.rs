//! The model of a `RUN|FILE` argument.

use super::values;
use crate::models::MultiScale;
use crate::nn::Precision;
use crate::train::{
    build_model, find_checkpoint, load_into, stored_config, stored_progress, RunConfig, Team,
    Weights,
};
use crate::weights::StateFile;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use tch::{nn::VarStore, Device};

/// Which model a command reads.
#[derive(Debug, Args)]
pub struct ModelFile {
    /// Run folder, checkpoint, or file of PyTorch or tch
    #[arg(value_name = "RUN|FILE")]
    pub path: PathBuf,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    precision: NetPrecision,
}

impl ModelFile {
    /// Loads it; what its precision means on `device` is said on standard error.
    pub fn load(&self, device: Device) -> Result<Loaded> {
        load(&self.path, &self.described, &self.precision, device)
    }

    /// [`load`](Self::load) for several processes: rank 0 reads the file and sends what is in it to the others.
    pub fn load_in(&self, team: &Team, device: Device) -> Result<Loaded> {
        let mut loaded = None;
        let (config, trained_in) = team.from_main(|| {
            let read = loaded.insert(self.load(device)?);
            Ok((read.config.clone(), read.trained_in))
        })?;
        let loaded = match loaded {
            Some(loaded) => loaded,
            None => {
                let (model, vs) = build_model(&config, device)?;
                Loaded {
                    config,
                    trained_in,
                    model,
                    vs,
                }
            }
        };
        team.share(loaded.vs.variables())?;
        Ok(loaded)
    }
}

/// What model a file holds that does not say so itself, as for `train`.
#[derive(Debug, Args)]
pub struct Described {
    /// Named settings of the model, for a file of another program
    #[arg(long, value_name = "P", value_parser = values::preset(), hide_possible_values = true)]
    pub preset: Option<String>,
    /// JSON file like a run's config.json, for a file of another program
    #[arg(long, value_name = "F")]
    pub config: Option<PathBuf>,
    /// Where in the file the weights lie, as inspect lists it; . is the top level [default: where they fit]
    #[arg(long, value_name = "PATH")]
    pub key: Option<String>,
    /// Read only the weights whose names begin so, without it [default: what all names share]
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Take the weights of the last step of a run that keeps averages of them
    #[arg(long)]
    no_ema: bool,
}

impl Described {
    /// The configuration that the flags stand for.
    pub fn resolve(&self) -> Result<RunConfig> {
        RunConfig::resolve(self.preset.as_deref(), self.config.as_deref())
    }

    fn weights(&self) -> Weights {
        match self.no_ema {
            true => Weights::Last,
            false => Weights::Averaged,
        }
    }

    fn is_given(&self) -> bool {
        self.preset.is_some() || self.config.is_some()
    }
}

/// What the nets of a model compute in.
#[derive(Debug, Args)]
pub struct NetPrecision {
    /// Let the nets compute in float32, tf32 or bfloat16 [default: as in training]
    #[arg(long, value_name = "X", value_parser = values::precision(), hide_possible_values = true)]
    pub precision: Option<Precision>,
}

/// A file of a `RUN|FILE` argument, and what model it holds if it or the flags say so.
pub struct Opened {
    /// The file.
    pub file: StateFile,
    /// What the run was made of.
    pub config: Option<RunConfig>,
    /// Which of its weights were asked for.
    weights: Weights,
}

/// Opens a `RUN|FILE` argument; which file of a run was taken is reported on standard error.
pub fn open(path: &Path, described: &Described) -> Result<Opened> {
    let found = find_checkpoint(path)?;
    let mut file = StateFile::open(&found)?;
    if let Some(key) = &described.key {
        file.choose(key)?;
    }
    if let Some(prefix) = &described.prefix {
        file.below(prefix)?;
    }
    let stored = stored_config(&file)?;
    if stored.is_some() && described.is_given() {
        return Err(Error::config(format!(
            "{}: says itself what model it holds: leave --preset and --config out",
            found.display()
        )));
    }
    if let (true, Some(progress)) = (found != path, stored_progress(&file)?) {
        eprintln!(
            "using {} (step {}, epoch {})",
            found.display(),
            progress.step,
            progress.epoch
        );
    }
    let config = match stored {
        None if described.is_given() => Some(described.resolve()?),
        stored => stored,
    };
    Ok(Opened {
        file,
        config,
        weights: described.weights(),
    })
}

/// A model with the content of a file.
pub struct Loaded {
    /// What the run was made of, but for a precision that was asked for.
    pub config: RunConfig,
    /// What the nets computed in during training.
    pub trained_in: Precision,
    /// The model.
    pub model: MultiScale,
    /// Its variables.
    pub vs: VarStore,
}

impl Loaded {
    /// What to say about the precision of the nets, if it is not float32 as in training.
    pub fn precision(&self) -> Option<String> {
        let (used, trained) = (self.config.precision, self.trained_in);
        if used != trained {
            return Some(format!(
                "nets in {used} instead of {trained}, which they were trained in: another density"
            ));
        }
        (used != Precision::Float32).then(|| format!("nets in {used}, as in training"))
    }
}

/// Loads the model of a `RUN|FILE` argument; what its precision means on `device` is said on standard error.
pub fn load(
    path: &Path,
    described: &Described,
    precision: &NetPrecision,
    device: Device,
) -> Result<Loaded> {
    let mut opened = open(path, described)?;
    match opened.config.take() {
        Some(mut config) => {
            let trained_in = config.precision;
            config.precision = precision.precision.unwrap_or(trained_in);
            if let Some(remark) = config.precision.remark(device) {
                eprintln!("precision: {remark}");
            }
            Ok(Loaded {
                trained_in,
                ..opened.fill(config, device)?
            })
        }
        None => Err(Error::file(
            opened.file.path(),
            opened.file.nothing().unwrap_or("does not say what model it holds: add --preset P or --config F; `inverse-flow inspect FILE` lists what is in it"),
        )),
    }
}

impl Opened {
    /// A model of this configuration with the content of the file; what was decided on the way is said on standard error.
    pub fn fill(&self, config: RunConfig, device: Device) -> Result<Loaded> {
        let (model, vs) = build_model(&config, device)?;
        let report = load_into(&self.file, &model, &vs, self.weights)?;
        for remark in report.remarks {
            eprintln!("weights: {remark}");
        }
        Ok(Loaded {
            trained_in: config.precision,
            config,
            model,
            vs,
        })
    }
}

/// Number of trainable and of other scalars in a store.
pub fn scalars(vs: &VarStore) -> (usize, usize) {
    let (mut params, mut buffers) = (0, 0);
    for tensor in vs.variables().values() {
        if tensor.requires_grad() {
            params += tensor.numel();
        } else {
            buffers += tensor.numel();
        }
    }
    (params, buffers)
}
