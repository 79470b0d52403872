//! Named starting points.
//!
//! | group | what it holds |
//! |---|---|
//! | `quick/*` | small models that minutes on a CPU are enough for |
//! | `table3/*`, `table6/*` | the rows of the paper's tables: each method's own backbone and recipe |
//! | `table3/*-harness`, `table6/*-harness` | the layers of all families on one common backbone: the fair comparison |
//! | `table7/*`, `table9/*`, `table10/*` | Inverse-Flow over the size of the input, of the batch, of the kernel |

mod harness;
mod parts;
mod quick;
pub mod scaling;
mod table3;
mod table6;

pub use parts::{Preset, DEFAULT};

use super::RunConfig;
use crate::models::MODELS;
use crate::words::did_you_mean;
use crate::{Error, Result};

/// All presets.
pub fn all() -> Vec<Preset> {
    [
        quick::presets(),
        table3::presets(),
        table6::presets(),
        harness::presets(),
        scaling::presets(),
    ]
    .concat()
}

/// The configuration of the preset `name`.
///
/// # Errors
/// An unknown name; the message lists all there are.
pub fn by_name(name: &str) -> Result<RunConfig> {
    let all = all();
    match all.iter().find(|preset| preset.name == name) {
        Some(preset) => Ok(preset.config.clone()),
        None => {
            let known: Vec<_> = all.iter().map(|preset| preset.name.as_str()).collect();
            Err(Error::config(format!(
                "unknown preset `{name}`{}; there are: {}",
                did_you_mean(name, known.iter().copied()),
                known.join(", ")
            )))
        }
    }
}

/// The preset to start from for a flow family when none is named: `quick/<model>`.
///
/// # Errors
/// An unknown family; the message lists all there are.
pub fn for_model(model: &str) -> Result<String> {
    if MODELS.contains(&model) {
        return Ok(format!("quick/{model}"));
    }
    Err(Error::config(format!(
        "unknown model `{model}`{}; there are: {}",
        did_you_mean(model, MODELS.iter().copied()),
        MODELS.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_survives_json_and_fits_its_data() {
        for preset in all() {
            let config = by_name(&preset.name).unwrap();
            config.validate().unwrap();
            assert_eq!(
                config.model.image(),
                crate::data::image_shape(&config.data).unwrap(),
                "{}",
                preset.name
            );
            let back = RunConfig::from_json(&config.to_json().unwrap()).unwrap();
            assert_eq!(back, config);
        }
    }

    fn table(name: &str) -> &str {
        name.split('/').next().unwrap_or_default()
    }

    #[test]
    fn names_are_unique_and_name_their_model() {
        let all = all();
        for (index, preset) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != preset.name));
            let model = preset.config.model.name();
            assert!(
                preset.name.contains(model)
                    || preset.name.starts_with("quick/mnist")
                    || (model == "inverse-flow" && scaling::TABLES.contains(&table(&preset.name))),
                "{} is a {model}",
                preset.name
            );
        }
        for model in MODELS {
            let preset = for_model(model).unwrap();
            assert_eq!(by_name(&preset).unwrap().model.name(), *model);
        }
        assert!(for_model("glow").unwrap_err().to_string().contains("snf"));
    }

    #[test]
    fn an_unknown_preset_is_answered_with_all_names() {
        let message = by_name("table3/glow").unwrap_err().to_string();
        for preset in all() {
            assert!(message.contains(&preset.name), "{message}");
        }
    }
}
