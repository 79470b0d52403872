//! `inverse-flow inspect`

use super::listing;
use super::model_file::{self, Described, Loaded};
use super::presets;
use crate::models::MultiScale;
use crate::train::{build_model, say};
use crate::weights::StateFile;
use crate::words::counted;
use clap::Args;
use serde_json::{json, Value};
use std::path::PathBuf;
use tch::{nn::VarStore, Device};

/// Show what a model is made of, list the tensors of a file, or list the presets
#[derive(Debug, Args)]
#[command(
    override_usage = "inverse-flow inspect <RUN|FILE> [--preset <P> | --config <F>] [--json]
       inverse-flow inspect --preset <P> [--json]
       inverse-flow inspect --presets [--json]",
    after_help = "Examples:
  inverse-flow inspect --presets
  inverse-flow inspect --preset table3/inverse-flow
  inverse-flow inspect runs/first --json
  inverse-flow inspect theirs.pt
Nothing here needs data. If neither a file nor a flag says which model the file holds, everything in it is listed: each
dictionary of tensors with names, shapes and dtypes, and what is not read with the reason. Checksums are compared."
)]
pub struct InspectArgs {
    /// Run folder, checkpoint, or file of PyTorch or tch
    #[arg(value_name = "RUN|FILE", required_unless_present_any = ["preset", "config", "presets"])]
    path: Option<PathBuf>,
    #[command(flatten)]
    described: Described,
    /// List all presets with data, parameters and measured minutes
    #[arg(long, conflicts_with_all = ["path", "preset", "config"])]
    presets: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        if self.presets {
            return presets::print(self.json);
        }
        let loaded = match &self.path {
            Some(path) => {
                let mut opened = model_file::open(path, &self.described)?;
                let Some(config) = opened.config.take() else {
                    return self.list(&opened.file);
                };
                opened.file.verify_all()?;
                opened.fill(config, Device::Cpu)?
            }
            None => {
                let config = self.described.resolve()?;
                let (model, vs) = build_model(&config, Device::Cpu)?;
                Loaded {
                    trained_in: config.precision,
                    config,
                    model,
                    vs,
                }
            }
        };
        self.show(&loaded)
    }

    fn show(&self, loaded: &Loaded) -> anyhow::Result<()> {
        let Loaded {
            config, model, vs, ..
        } = loaded;
        let (params, buffers) = model_file::scalars(vs);
        let layers = layers(model, vs);
        if self.json {
            let layers: Vec<Value> = layers
                .iter()
                .map(
                    |layer| json!({"name": layer.name, "kind": layer.kind, "params": layer.params}),
                )
                .collect();
            let object = json!({
                "model": config.model.name(),
                "params": params,
                "buffers": buffers,
                "layers": layers,
                "config": config,
            });
            say(&serde_json::to_string(&object)?);
            return Ok(());
        }
        let width = layers.iter().map(|layer| layer.name.len()).max();
        let width = width.unwrap_or(0);
        for layer in &layers {
            say(&format!(
                "{:width$}  {:12} {:>9}",
                layer.name, layer.kind, layer.params
            ));
        }
        say(&format!(
            "{} for images of {:?}: {}, {} in buffers",
            config.model.name(),
            config.model.image(),
            counted(params, "trainable parameter"),
            counted(buffers, "number")
        ));
        Ok(())
    }

    /// What is in a file, without a model to compare it with.
    fn list(&self, file: &StateFile) -> anyhow::Result<()> {
        let verified = file.verify_all()?;
        if self.json {
            say(&serde_json::to_string(&listing::json(file, verified))?);
            return Ok(());
        }
        for line in listing::text(file, verified) {
            say(&line);
        }
        Ok(())
    }
}

struct Layer {
    name: String,
    kind: &'static str,
    /// Trainable scalars.
    params: usize,
}

fn layers(model: &MultiScale, vs: &VarStore) -> Vec<Layer> {
    let variables = vs.variables();
    let params = |layer: &str| -> usize {
        variables
            .iter()
            .filter(|(name, tensor)| {
                tensor.requires_grad()
                    && name
                        .strip_prefix(layer)
                        .is_some_and(|rest| rest.starts_with('.'))
            })
            .map(|(_, tensor)| tensor.numel())
            .sum()
    };
    let layers = model.layers().into_iter();
    layers
        .map(|(name, kind)| Layer {
            params: params(&name),
            name,
            kind,
        })
        .collect()
}
