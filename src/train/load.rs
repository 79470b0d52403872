//! Models of a configuration: freshly drawn, or with the content of a file.

use super::checkpoint::{Checkpoint, OPTIM};
use super::format::FileKind;
use super::RunConfig;
use crate::models::{self, MultiScale};
use crate::weights::{Naming, Report, StateFile};
use crate::Result;
use tch::{nn::VarStore, Device};

/// A freshly drawn model, not yet initialised from data: the same parameters for the same seed, on every device, since
/// they are drawn on the CPU.
///
/// # Errors
/// A configuration that no model can be built from, or a GPU without what it takes.
pub fn build_model(config: &RunConfig, device: Device) -> Result<(MultiScale, VarStore)> {
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
    load_into(file, &model, &vs)?;
    Ok((model, vs))
}

/// Fills a model and its variables with the content of a file of any format, and says what was decided on the way.
///
/// # Errors
/// A file of another model; then nothing is changed.
pub fn load_into(file: &StateFile, model: &MultiScale, vs: &VarStore) -> Result<Report> {
    let targets = vs.variables().into_iter().collect();
    let layers = model.layers();
    let naming = match FileKind::of(file)? {
        Some(FileKind::Checkpoint | FileKind::Model) => Naming::Own {
            ignored: Some(OPTIM),
        },
        // who saves a program of ours again may wrap it
        Some(FileKind::TorchScript | FileKind::StateDict) | None => Naming::Any { layers: &layers },
    };
    file.load(targets, naming)
}
