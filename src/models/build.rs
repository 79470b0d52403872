//! From a configuration to a model.

use super::{ModelConfig, MultiScale};
use crate::Result;
use tch::nn;

/// Builds the model of `config`, its variables in `vs`.
///
/// Parameters are drawn from libtorch's global generator: seed it (`tch::manual_seed`) before. They are of the kind
/// and on the device that `vs` has now; moving the store afterwards is not supported.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for a configuration that no model can be built from, with what to change.
pub fn build(vs: &nn::Path, config: &ModelConfig) -> Result<MultiScale> {
    if let Some(classes) = config.classes() {
        classes.check()?;
    }
    match config {
        ModelConfig::Glow(config) => config.build(vs),
        ModelConfig::MaCow(config) => config.build(vs),
        ModelConfig::Woodbury(config) => config.build(vs),
        ModelConfig::Butterfly(config) => config.build(vs),
        ModelConfig::MintNet(config) => config.build(vs),
    }
}

/// Number of trainable scalars in `vs`, masked ones included, as the tables of the paper count them.
pub fn parameter_count(vs: &nn::VarStore) -> i64 {
    vs.trainable_variables()
        .iter()
        .map(|variable| variable.numel() as i64)
        .sum()
}
