//! `inverse-flow convert`

use super::model_file::{self, Described, Loaded, NetPrecision};
use super::out;
use crate::torchscript::Solve;
use crate::train::{save_model, save_state_dict, save_torchscript, say};
use crate::weights::write_ot;
use crate::words::counted;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use tch::Device;

/// Write a model in another format, without the optimiser
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: inverse-flow convert runs/first model.safetensors
          inverse-flow convert runs/first model.ot
          inverse-flow convert runs/first model.pt
          inverse-flow convert runs/first weights.pth
          inverse-flow convert theirs.pt model.safetensors --preset table3/inverse-flow
IN may be a run, a safetensors file, a PyTorch state dictionary or training checkpoint of any version, a TorchScript archive,
an exported program or a .ot of tch; its content says which. docs/checkpoints.md has all formats, names and limits."
)]
pub struct ConvertArgs {
    /// Run folder or file of a model
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// File to write: .safetensors, .ot (tch), .pt (TorchScript) or .pth (state dictionary)
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Let a .pt call the operator library, which torch must then load first
    #[arg(long)]
    operator: bool,
    /// Write a plain state dictionary whatever OUT ends in, for torch.load(OUT)
    #[arg(long, conflicts_with = "operator")]
    state_dict: bool,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    precision: NetPrecision,
}

/// A format that can be written.
#[derive(Debug, Clone, Copy)]
enum OutputFormat {
    Safetensors,
    Ot,
    TorchScript(Solve),
    StateDict,
}

impl ConvertArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let target = OutputFormat::of(&self.output, self.operator, self.state_dict)?;
        out::check_place(&self.output)?;
        out::check_beside(&self.output, &self.input)?;
        let loaded = model_file::load(&self.input, &self.described, &self.precision, Device::Cpu)?;
        target.write(&self.output, &loaded)?;
        let (params, buffers) = model_file::scalars(&loaded.vs);
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        say(&format!(
            "{} with {} and {} in buffers: {}",
            loaded.config.model.name(),
            counted(params, "parameter"),
            counted(buffers, "number"),
            self.output.display()
        ));
        Ok(())
    }
}

impl OutputFormat {
    fn of(path: &Path, operator: bool, state_dict: bool) -> Result<Self> {
        if state_dict {
            return Ok(Self::StateDict);
        }
        let target = match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Self::Safetensors,
            Some("ot") => Self::Ot,
            Some("pt") if operator => Self::TorchScript(Solve::Operator),
            Some("pt") => Self::TorchScript(Solve::Portable),
            Some("pth") => Self::StateDict,
            _ => {
                return Err(Error::config(format!(
                    "{}: OUT must end in .safetensors, .ot, .pt or .pth, which says the format to write",
                    path.display()
                )))
            }
        };
        if operator && !matches!(target, Self::TorchScript(_)) {
            return Err(Error::config(
                "`--operator` is about how a TorchScript program solves: write a .pt, or leave it out",
            ));
        }
        Ok(target)
    }

    fn write(self, path: &Path, loaded: &Loaded) -> Result<()> {
        let Loaded {
            config, model, vs, ..
        } = loaded;
        match self {
            Self::Safetensors => save_model(path, vs, config),
            // the format has no place for a configuration
            Self::Ot => write_ot(path, vs.variables().into_iter().collect()),
            Self::StateDict => save_state_dict(path, vs, config),
            Self::TorchScript(solve) => save_torchscript(path, model, vs, config, solve),
        }
    }
}
