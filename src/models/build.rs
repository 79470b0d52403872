//! From a configuration to a model.

use super::glow::Glow;
use super::{Flow, ModelConfig};
use crate::flows::{InvConv, InvConvConfig, Sequential};
use crate::{Error, Result};
use tch::nn;

/// The names that [`ModelConfig::model`] may have.
pub const MODELS: &[&str] = &["inverse-flow"];

/// Builds the model of `config`, its variables in `vs`.
///
/// Parameters are drawn from libtorch's global generator: seed it (`tch::manual_seed`) before. They are of the kind
/// and on the device that `vs` has now; moving the store afterwards is not supported.
///
/// # Errors
/// [`Error::Config`] for an unknown model name, with the valid ones, or for a configuration no model can be built from.
pub fn build(vs: &nn::Path, config: &ModelConfig) -> Result<Box<dyn Flow>> {
    config.check()?;
    let glow = match config.model.as_str() {
        "inverse-flow" => Glow::new(vs, config, |vs, [channels, ..]| {
            let conv = InvConvConfig {
                init_std: config.init_std,
                ..InvConvConfig::new(channels, config.kernel)
            };
            let layer = InvConv::new(&(vs / "inv_conv"), &conv)?;
            Ok(Sequential::new().push("inv_conv", layer))
        })?,
        unknown => {
            return Err(Error::config(format!(
                "unknown `model` {unknown:?}: expected one of {}",
                MODELS.join(", ")
            )))
        }
    };
    Ok(Box::new(glow))
}

/// Number of trainable scalars in `vs`, masked ones included, as the tables of the paper count them.
pub fn parameter_count(vs: &nn::VarStore) -> i64 {
    vs.trainable_variables()
        .iter()
        .map(|variable| variable.numel() as i64)
        .sum()
}
