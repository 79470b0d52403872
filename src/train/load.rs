//! Models of a configuration: freshly drawn, or with the content of a file.

use super::checkpoint::{has_averages, own, Checkpoint};
use super::format::{stored_config, FileKind};
use super::{RunConfig, Weights};
use crate::models::{self, MultiScale};
use crate::phase::{self, Phase};
use crate::weights::{Naming, Report, StateFile};
use crate::{Error, Result};
use tch::{nn::VarStore, Device, Tensor};

/// A freshly drawn model, not yet initialised from data: the same parameters for the same seed, on every device, since
/// they are drawn on the CPU.
///
/// # Errors
/// A configuration that no model can be built from, or a GPU without what it takes.
pub fn build_model(config: &RunConfig, device: Device) -> Result<(MultiScale, VarStore)> {
    phase::enter(Phase::Model);
    if device.is_cuda() {
        crate::cuda::libtorch::load()?;
    }
    let drawn = VarStore::new(Device::Cpu);
    tch::manual_seed(config.seed as i64);
    let mut model = models::build(&drawn.root(), &config.model)?;
    if device == Device::Cpu {
        model.set_precision(config.precision)?;
        model.set_bits(config.bits)?;
        return Ok((model, drawn));
    }
    // a GPU's generator draws other numbers from the same seed; a model's tensors stay where they were made
    let mut vs = VarStore::new(device);
    let mut model = models::build(&vs.root(), &config.model)?;
    model.set_precision(config.precision)?;
    model.set_bits(config.bits)?;
    vs.copy(&drawn)?;
    Ok((model, vs))
}

/// A model for evaluation or sampling with the content of a checkpoint.
///
/// # Errors
/// A checkpoint of another model than its configuration says.
pub fn load_model(checkpoint: &Checkpoint, device: Device) -> Result<(MultiScale, VarStore)> {
    let (model, vs) = build_model(&checkpoint.config, device)?;
    checkpoint.load_model(&vs)?;
    Ok((model, vs))
}

/// A model of `config` for evaluation or sampling with the content of a file of any format.
///
/// # Errors
/// A configuration that no model can be built from, or a file of another model; then nothing is changed.
pub fn load_state(
    file: &StateFile,
    config: &RunConfig,
    device: Device,
) -> Result<(MultiScale, VarStore)> {
    let (model, vs) = build_model(config, device)?;
    load_into(file, &model, &vs, Weights::Averaged)?;
    Ok((model, vs))
}

/// Fills a model and its variables with the content of a file of any format, and says what was decided on the way.
///
/// # Errors
/// A file of another model, or one that has not the weights that are asked for; then nothing is changed.
pub fn load_into(
    file: &StateFile,
    model: &MultiScale,
    vs: &VarStore,
    weights: Weights,
) -> Result<Report> {
    read(file, model, vs, weights, StateFile::load)
}

/// [`load_into`] of what fits; the rest of the model is left as it is, and the report names it. A layer that is set from a first
/// batch is left without one unless all of it is in the file.
///
/// # Errors
/// Nothing in the file fits the model; then nothing is changed.
pub fn load_part_into(
    file: &StateFile,
    model: &MultiScale,
    vs: &VarStore,
    weights: Weights,
) -> Result<Report> {
    read(file, model, vs, weights, StateFile::load_part)
}

fn read<'a>(
    file: &'a StateFile,
    model: &MultiScale,
    vs: &VarStore,
    weights: Weights,
    load: impl FnOnce(&'a StateFile, Vec<(String, Tensor)>, Naming<'_>) -> Result<Report>,
) -> Result<Report> {
    phase::enter(Phase::Weights);
    let targets = vs.variables().into_iter().collect();
    let layers = model.layers();
    let (naming, remark) = naming(file, &layers, weights)?;
    let mut report = load(file, targets, naming)?;
    report.remarks.splice(..0, remark);
    Ok(report)
}

/// How the names in a file are read, and what to say about the weights.
fn naming<'a>(
    file: &StateFile,
    layers: &'a [(String, &'static str)],
    weights: Weights,
) -> Result<(Naming<'a>, Option<String>)> {
    let kind = FileKind::of(file)?;
    let averaged = match kind {
        Some(FileKind::Checkpoint) => has_averages(file),
        _ => false,
    };
    let once = match stored_config(file)? {
        Some(config) => kind != Some(FileKind::Checkpoint) && config.train.ema.is_some(),
        None => false,
    };
    if once && weights == Weights::Last {
        let problem = "holds one set of weights, those that `convert` was asked for: leave --no-ema out, or read the checkpoint of the run";
        return Err(Error::file(file.path(), problem));
    }
    let remark = (averaged && weights == Weights::Averaged)
        .then(|| "the averages of training; --no-ema takes those of its last step".to_owned());
    let naming = match kind {
        Some(FileKind::Checkpoint | FileKind::Model) => own(weights),
        // who saves a program of ours again may wrap it
        Some(FileKind::TorchScript | FileKind::StateDict) | None => Naming::Any { layers },
    };
    Ok((naming, remark))
}
