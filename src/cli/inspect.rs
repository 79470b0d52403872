//! `inverse-flow inspect`

use super::common;
use crate::models::Flow;
use crate::train::{build_model, find_checkpoint, load_model, say, Checkpoint, RunConfig};
use clap::Args;
use serde_json::{json, Value};
use std::path::PathBuf;
use tch::{nn::VarStore, Device};

/// Shows what a model is made of, from a checkpoint or a preset; needs no data
#[derive(Debug, Args)]
#[command(
    override_usage = "inverse-flow inspect <RUN|FILE> [--json]
       inverse-flow inspect --preset <P> [--json]",
    after_help = "Examples: inverse-flow inspect --preset table3/inverse-flow
          inverse-flow inspect runs/first --json"
)]
pub struct InspectArgs {
    /// Run folder or checkpoint file
    #[arg(
        value_name = "RUN|FILE",
        required_unless_present = "preset",
        conflicts_with = "preset"
    )]
    path: Option<PathBuf>,
    /// Build the model of this preset
    #[arg(long)]
    preset: Option<String>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let (config, model, vs) = self.build()?;
        let (params, buffers) = common::scalars(&vs);
        let layers = layers(model.as_ref(), &vs);
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
        let width = layers
            .iter()
            .map(|layer| layer.name.len())
            .max()
            .unwrap_or(0);
        for layer in &layers {
            say(&format!(
                "{:width$}  {:12} {:>9}",
                layer.name, layer.kind, layer.params
            ));
        }
        say(&format!(
            "{} for images of {:?}: {params} trainable parameters, {buffers} numbers in buffers",
            config.model.name(),
            config.model.image()
        ));
        Ok(())
    }

    fn build(&self) -> anyhow::Result<(RunConfig, Box<dyn Flow>, VarStore)> {
        if let Some(path) = &self.path {
            let checkpoint = Checkpoint::open(&find_checkpoint(path)?)?;
            let (model, vs) = load_model(&checkpoint, Device::Cpu)?;
            return Ok((checkpoint.config, model, vs));
        }
        let config = RunConfig::resolve(self.preset.as_deref(), None)?;
        let (model, vs) = build_model(&config, Device::Cpu)?;
        Ok((config, model, vs))
    }
}

struct Layer {
    name: String,
    kind: &'static str,
    /// Trainable scalars.
    params: usize,
}

fn layers(model: &dyn Flow, vs: &VarStore) -> Vec<Layer> {
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
