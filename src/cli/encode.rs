//! `inverse-flow encode`

use super::common::{self, Compute, Described, NetPrecision};
use super::latents;
use super::non_finite::NonFinite;
use super::pictures::Pictures;
use super::{out, values};
use crate::data::{Source, Split};
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
    /// Run folder, checkpoint, or file of PyTorch or tch
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,
    /// Data set, folder or file, as for train
    #[arg(value_name = "SOURCE", value_parser = values::data(), hide_possible_values = true)]
    source: Source,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    precision: NetPrecision,
    #[command(flatten)]
    pictures: Pictures,
    /// Folder of the data sets that are known by name [default: that of the run]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Part of the data: train, val or test [default: test; all images of a source of your own that is not split]
    #[arg(long, value_name = "SPLIT")]
    split: Option<Split>,
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
        let loaded = common::load(&self.path, &self.described, &self.precision, device)?;
        let team = Team::alone();
        self.non_finite
            .check_parameters(&team, &self.path, &loaded.vs)?;
        let data = common::load_source(
            &loaded.config,
            &self.source,
            &self.pictures,
            self.data_dir.as_deref(),
            self.split,
            self.limit,
        )?;
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
