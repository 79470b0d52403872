//! `inverse-flow eval`

use super::common::{self, Compute, Described, Images, NetPrecision};
use super::ranks::{self, Ranks};
use crate::nn::Precision;
use crate::train::{same_everywhere, say, Dequantization, Evaluation, Likelihood, RoundTrip, Team};
use crate::words::counted;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Measure the likelihood of a model on a data set, and how exactly it inverts
#[derive(Debug, Args)]
#[command(after_help = "Example: inverse-flow eval runs/first --roundtrip
A run folder stands for its best checkpoint, or for its last one if none was validated.
NLL is in nats per image, bpd in bits per dimension; lower is better.")]
pub struct EvalArgs {
    /// Run folder, checkpoint, or file of PyTorch or tch
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    precision: NetPrecision,
    #[command(flatten)]
    images: Images,
    /// Only the first N images [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// What is added to integer pixels: uniform noise from the seed, or midpoint for 0.5
    #[arg(long, default_value = "uniform")]
    dequantize: Dequantization,
    /// Also measure max |decode(encode(x)) - x| / 256, on the data and on samples of the model
    #[arg(long)]
    roundtrip: bool,
    /// Images per batch [default: that of the run]
    #[arg(long, value_name = "B")]
    batch_size: Option<usize>,
    /// Seed of the noise [default: that of the run]
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

impl EvalArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let ranks = Ranks::join(ranks::start_again("eval"))?;
        let done = self.evaluate(&ranks.team);
        ranks.conclude(done)
    }

    fn evaluate(&self, team: &Team) -> anyhow::Result<()> {
        let device = self.compute.start_in(team)?;
        let loaded = common::load_in(team, &self.path, &self.described, &self.precision, device)?;
        let config = &loaded.config;
        let data = self.images.load(config, self.limit)?;
        same_everywhere(team, &[&data])?;
        let evaluation = Evaluation {
            batch_size: self.batch_size.unwrap_or(config.train.batch_size),
            dequantize: self.dequantize,
            seed: self.seed.unwrap_or(config.seed),
            device,
        };
        let model = &loaded.model;
        let likelihood = evaluation.likelihood_in(team, model, &data)?;
        let round_trip = match self.roundtrip {
            true => Some(evaluation.round_trip_in(team, model, &data)?),
            false => None,
        };
        if !team.is_main() {
            return Ok(());
        }
        if self.json {
            self.print_json(&loaded, likelihood, round_trip)
        } else {
            self.print(&loaded, likelihood, round_trip);
            Ok(())
        }
    }

    fn print_json(
        &self,
        loaded: &common::Loaded,
        likelihood: Likelihood,
        round_trip: Option<RoundTrip>,
    ) -> anyhow::Result<()> {
        let mut object = json!({
            "model": loaded.config.model.name(),
            "params": common::scalars(&loaded.vs).0,
            "data": self.images.name(&loaded.config).to_string(),
            "split": self.images.split,
            "images": likelihood.images,
            "nll_nats": likelihood.nll_nats,
            "bpd": likelihood.bpd,
            "roundtrip_max_abs": round_trip.map(|errors| errors.data.largest),
            "dequantize": self.dequantize,
        });
        // a run that knows only float32 is described as it always was
        let precisions = [loaded.config.precision, loaded.trained_in];
        if precisions != [Precision::Float32; 2] {
            object["precision"] = json!(precisions[0]);
            object["trained_in"] = json!(precisions[1]);
        }
        say(&serde_json::to_string(&object)?);
        Ok(())
    }

    fn print(
        &self,
        loaded: &common::Loaded,
        likelihood: Likelihood,
        round_trip: Option<RoundTrip>,
    ) {
        say(&format!(
            "{} ({}) on {} {}, {}, {} dequantisation",
            loaded.config.model.name(),
            counted(common::scalars(&loaded.vs).0, "parameter"),
            self.images.name(&loaded.config),
            self.images.split,
            counted(likelihood.images, "image"),
            self.dequantize
        ));
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        say(&format!(
            "NLL {:.3} nats per image, {:.4} bits per dimension",
            likelihood.nll_nats, likelihood.bpd
        ));
        if let Some(errors) = round_trip {
            say("round trip, largest error of an image as a part of the pixel range:");
            for (images, errors) in [("data", errors.data), ("samples", errors.samples)] {
                say(&format!(
                    "  {images:<8} median {:.1e}, worst {:.1e}, within half a grey level {:.4} %",
                    errors.median,
                    errors.largest,
                    100.0 * errors.within_half_a_level
                ));
            }
        }
    }
}
