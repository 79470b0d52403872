//! `inverse-flow sample`

use super::compute::Compute;
use super::gallery::{Filling, Format, Target};
use super::model_file::ModelFile;
use super::non_finite::NonFinite;
use super::of_class::OfClass;
use super::ranks::{self, Ranks};
use crate::train::{model_fingerprint, prior_latents_of, Decoding, Team};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Draw images from a model: as a grid, as a folder of PNG files, or as an array
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: inverse-flow sample runs/first --count 100 --out samples.png
          inverse-flow sample runs/first --count 50000 --temperature 1 --out samples
          inverse-flow sample runs/first --count 50000 --temperature 1 --out samples.npy
The same seed gives the same latents for every model and every count. Without --label a conditional model draws as many images of
each class, in a grid a row. A folder or an array that was interrupted goes on with
the same command, and has the same bytes in the end (docs/sampling.md)."
)]
pub struct SampleArgs {
    #[command(flatten)]
    file: ModelFile,
    /// Number of images
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Standard deviation of the latents; 1 is the model's own distribution, lower is closer to its mode
    #[arg(long, value_name = "T", default_value_t = 0.7)]
    temperature: f64,
    /// Seed of the latents
    #[arg(long, default_value_t = 0)]
    seed: u64,
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

impl SampleArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let target = Target::of(self.format, &self.out)?;
        let ranks = Ranks::join(ranks::start_again("sample"))?;
        let done = self.draw(&ranks.team, &target);
        ranks.conclude(done)
    }

    fn draw(&self, team: &Team, target: &Target) -> anyhow::Result<()> {
        team.from_main(|| target.check())?;
        let device = self.compute.start_in(team)?;
        let loaded = self.file.load_in(team, device)?;
        self.non_finite
            .check_parameters(team, &self.file.path, &loaded.vs)?;
        let latents = |images| {
            prior_latents_of(&loaded.model, images, self.seed, device)?.scaled(self.temperature)
        };
        let label = self.of_class.number(&loaded.model)?;
        let decoding = Decoding {
            latents: &latents,
            count: u64::from(self.count),
            batch: loaded.config.train.batch_size.max(1) as u64,
            device,
            labels: label.into(),
        };
        let settings = || {
            let settings = json!({
                "command": "sample",
                "model": loaded.config.model.name(),
                "weights": model_fingerprint(&loaded.config, &loaded.vs)?,
                "precision": loaded.config.precision,
                "device": if device.is_cuda() { "cuda" } else { "cpu" },
                "count": self.count,
                "seed": self.seed,
                "temperature": self.temperature,
                "batch_size": decoding.batch,
                "label": label,
            });
            Ok(settings.as_object().cloned().unwrap_or_default())
        };
        let filling = Filling {
            team,
            loaded: &loaded,
            decoding,
            target,
            non_finite: self.non_finite,
        };
        let classes = match (&self.of_class.label, loaded.model.classes()) {
            (Some(label), _) => format!(" of the class {label}"),
            (None, Some(classes)) if (self.count as usize).is_multiple_of(classes.names.len()) => {
                ", as many of each class,".to_owned()
            }
            (None, Some(_)) => " of all classes".to_owned(),
            (None, None) => String::new(),
        };
        let how = format!("{classes} at temperature {}", self.temperature);
        filling.run(&how, settings)
    }
}
