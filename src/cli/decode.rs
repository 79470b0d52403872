//! `inverse-flow decode`

use super::compute::Compute;
use super::gallery::{Filling, Format, Target};
use super::latents;
use super::model_file::ModelFile;
use super::non_finite::NonFinite;
use super::of_class::OfClass;
use crate::train::{bytes_fingerprint, model_fingerprint, Decoding, Labels, Team};
use crate::Error;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Turn latents that `encode` wrote back into images
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: inverse-flow decode runs/first z.safetensors --out images.png
          inverse-flow decode runs/first z.npy --out images
The images are written as those of sample: a grid, a folder of PNG files, or an .npy."
)]
pub struct DecodeArgs {
    #[command(flatten)]
    file: ModelFile,
    /// File of latents: .safetensors or .npy
    #[arg(value_name = "Z")]
    latents: PathBuf,
    #[command(flatten)]
    of_class: OfClass,
    /// grid, png or npy [default: what --out is: FILE.png, a folder, or FILE.npy]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,
    /// PNG file of the grid, folder of numbered PNG files, or .npy file
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    #[command(flatten)]
    non_finite: NonFinite,
    #[command(flatten)]
    compute: Compute,
}

impl DecodeArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let target = Target::of(self.format, &self.out)?;
        target.check()?;
        let device = self.compute.start()?;
        let loaded = self.file.load(device)?;
        let team = Team::alone();
        self.non_finite
            .check_parameters(&team, &self.file.path, &loaded.vs)?;
        let stored = latents::read(&self.latents, &loaded.model)?;
        if stored.count() == 0 {
            return Err(Error::file(&self.latents, "holds latents of no image").into());
        }
        let weights = model_fingerprint(&loaded.config, &loaded.vs)?;
        if stored
            .weights
            .as_ref()
            .is_some_and(|theirs| *theirs != weights)
        {
            eprintln!(
                "{}: was encoded by a model of other weights, whose latents mean something else",
                self.latents.display()
            );
        }
        let part = |images| latents::part(&stored.latents, images, device);
        let asked = self.of_class.number(&loaded.model)?;
        let labels = match (asked, &stored.labels) {
            (None, Some(labels)) => Labels::Each(labels),
            _ => self.of_class.needed(&loaded.model)?.into(),
        };
        let decoding = Decoding {
            latents: &part,
            count: stored.count(),
            batch: loaded.config.train.batch_size.max(1) as u64,
            device,
            labels,
        };
        let settings = || {
            let content =
                std::fs::read(&self.latents).map_err(|err| Error::file(&self.latents, err))?;
            let settings = json!({
                "command": "decode",
                "model": loaded.config.model.name(),
                "weights": weights,
                "precision": loaded.config.precision,
                "device": if device.is_cuda() { "cuda" } else { "cpu" },
                "latents": bytes_fingerprint(&content),
                "batch_size": decoding.batch,
                "label": asked,
            });
            Ok(settings.as_object().cloned().unwrap_or_default())
        };
        let filling = Filling {
            team: &team,
            loaded: &loaded,
            decoding,
            target: &target,
            non_finite: self.non_finite,
        };
        filling.run("", settings)
    }
}
