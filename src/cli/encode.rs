//! `inverse-flow encode`

use super::compute::Compute;
use super::images::SourceImages;
use super::latents;
use super::model_file::ModelFile;
use super::non_finite::NonFinite;
use super::{out, values};
use crate::data::Source;
use crate::flows::Cx;
use crate::train::finite::where_encoding_ends;
use crate::train::{model_fingerprint, say, to_float, Dequantization, Evaluation, Team};
use crate::words::counted;
use clap::Args;
use std::path::PathBuf;
use tch::Kind;

/// Turn images into latents, with their log-likelihoods
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: inverse-flow encode runs/first mnist --limit 100 --out z.safetensors
          inverse-flow encode runs/first photos --out z.npy
A .safetensors file has the latents level by level with what they were made of, an .npy one row of numbers for each image.
`inverse-flow decode` turns them back into the same images (docs/sampling.md)."
)]
pub struct EncodeArgs {
    #[command(flatten)]
    file: ModelFile,
    /// Data set, folder or file, as for train
    #[arg(value_name = "SOURCE", value_parser = values::data(), hide_possible_values = true)]
    source: Source,
    #[command(flatten)]
    images: SourceImages,
    /// Only the first N images [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// What is added to integer pixels: midpoint for 0.5, or uniform noise from the seed, as for eval
    #[arg(long, default_value = "midpoint")]
    dequantize: Dequantization,
    /// Seed of uniform noise [default: that of the run]
    #[arg(long)]
    seed: Option<u64>,
    /// File to write: .safetensors or .npy
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    non_finite: NonFinite,
    #[command(flatten)]
    compute: Compute,
}

impl EncodeArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        out::check_file("--out", &self.out, &latents::ENDINGS)?;
        let device = self.compute.start()?;
        let loaded = self.file.load(device)?;
        let team = Team::alone();
        self.non_finite
            .check_parameters(&team, &self.file.path, &loaded.vs)?;
        let data = self.images.load(&loaded.config, &self.source, self.limit)?;
        let evaluation = Evaluation {
            batch_size: loaded.config.train.batch_size,
            dequantize: self.dequantize,
            seed: self.seed.unwrap_or(loaded.config.seed),
            device,
        };
        let encoded = evaluation.encode(&loaded.model, &data)?;
        let lost = encoded.log_prob.f_isfinite()?.f_logical_not()?;
        let places = Vec::<i64>::try_from(lost.f_nonzero()?.f_view([-1])?)?;
        let mut about = vec![
            ("model", loaded.config.model.name().to_owned()),
            ("weights", model_fingerprint(&loaded.config, &loaded.vs)?),
            ("source", self.source.to_string()),
            ("images", data.name.clone()),
            ("dequantize", self.dequantize.to_string()),
        ];
        if self.dequantize == Dequantization::Uniform {
            about.push(("seed", evaluation.seed.to_string()));
        }
        let nll = -encoded.log_prob.f_mean(Kind::Double)?.f_double_value(&[])?;
        let labels = loaded.model.classes().map(|_| &*data.labels);
        latents::write(&self.out, encoded, labels, about)?;
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        say(&format!(
            "latents of {} in {}, NLL {nll:.3} nats per image, {} dequantisation",
            counted(data.len(), "image"),
            self.out.display(),
            self.dequantize
        ));
        let Some(&first) = places.first() else {
            return Ok(());
        };
        // the noise of a pixel is no reason for what is not finite
        let x = to_float(&data.batch(&[first as usize])?, device)?;
        let condition = loaded
            .model
            .condition(&data.labels[first as usize..][..1])?;
        let cx = Cx {
            condition: condition.as_ref(),
            ..Cx::default()
        };
        let place = where_encoding_ends(&loaded.model, &x, cx)?;
        let text = format!(
            "the likelihoods of {} of {} are not finite, {place} (image {first} is the first)",
            places.len(),
            counted(data.len(), "image"),
        );
        self.non_finite.meet(&team, &text)
    }
}
