//! `inverse-flow eval`

use super::compute::Compute;
use super::images::Images;
use super::model_file::{self, ModelFile};
use super::non_finite::{Lost, NonFinite};
use super::ranks::{self, Ranks};
use crate::flows::Bits;
use crate::nn::Precision;
use crate::train::{
    same_everywhere, say, ClassLikelihood, Dequantization, Evaluation, Likelihood, RoundTrip, Team,
};
use crate::words::counted;
use clap::Args;
use serde_json::json;

/// Indices of images that the JSON names.
const LISTED: usize = 16;

/// Measure the likelihood of a model on a data set, and how exactly it inverts
#[derive(Debug, Args)]
#[command(after_help = "Example: inverse-flow eval runs/first --roundtrip
A run folder stands for its best checkpoint, or for its last one if none was validated.
NLL is in nats per image, bpd in bits per dimension; lower is better.")]
pub struct EvalArgs {
    #[command(flatten)]
    file: ModelFile,
    #[command(flatten)]
    images: Images,
    /// Only the first N images [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// What is added to integer pixels: uniform noise from the seed, or midpoint for 0.5
    #[arg(long, default_value = "uniform")]
    dequantize: Dequantization,
    /// Samples of the noise of every image: the mean over them, and the bound log 1/K sum p(x + noise)
    #[arg(long, value_name = "K", default_value_t = 1)]
    dequantize_samples: usize,
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
    non_finite: NonFinite,
    #[command(flatten)]
    compute: Compute,
}

/// What was measured.
struct Found {
    likelihood: Likelihood,
    /// Of more samples of the noise than one.
    bound: Option<Likelihood>,
    /// Of the images whose likelihood is finite.
    finite: Option<Likelihood>,
    lost: Option<Lost>,
    /// Of a conditional model.
    by_class: Option<ClassLikelihood>,
    round_trip: Option<RoundTrip>,
}

impl EvalArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let ranks = Ranks::join(ranks::start_again("eval"))?;
        let done = self.evaluate(&ranks.team);
        ranks.conclude(done)
    }

    fn evaluate(&self, team: &Team) -> anyhow::Result<()> {
        self.dequantize.check_samples(self.dequantize_samples)?;
        let device = self.compute.start_in(team)?;
        let loaded = self.file.load_in(team, device)?;
        self.non_finite
            .check_parameters(team, &self.file.path, &loaded.vs)?;
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
        let log_probs = evaluation.log_probs_in(team, model, &data, self.dequantize_samples)?;
        let lost = self
            .non_finite
            .meet_log_probs(team, &evaluation, model, &data, &log_probs)?;
        let by_class = match model.classes() {
            Some(_) => Some(evaluation.class_likelihood_in(team, model, &data)?),
            None => None,
        };
        // those given their own class have been looked at
        if let (None, Some(bad)) = (
            &lost,
            by_class
                .map(|found| found.not_finite)
                .filter(|bad| *bad > 0),
        ) {
            self.non_finite.meet(
                team,
                &format!(
                    "the likelihoods of {} of {} are not finite with the class unknown",
                    bad,
                    counted(data.len(), "image")
                ),
            )?;
        }
        let round_trip = match self.roundtrip {
            true => Some(evaluation.round_trip_in(team, model, &data)?),
            false => None,
        };
        if !team.is_main() {
            return Ok(());
        }
        let found = Found {
            likelihood: log_probs.likelihood(),
            bound: (self.dequantize_samples > 1)
                .then(|| log_probs.importance_weighted_likelihood()),
            finite: log_probs.likelihood_of_finite(),
            lost,
            by_class,
            round_trip,
        };
        if self.json {
            self.print_json(&loaded, &found)
        } else {
            self.print(&loaded, &found);
            Ok(())
        }
    }

    fn print_json(&self, loaded: &model_file::Loaded, found: &Found) -> anyhow::Result<()> {
        // a number that is not finite is written as null
        let finite = |number: f64| number.is_finite().then_some(number);
        let mut object = json!({
            "model": loaded.config.model.name(),
            "params": model_file::scalars(&loaded.vs).0,
            "data": self.images.name(&loaded.config).to_string(),
            "split": self.images.split,
            "images": found.likelihood.images,
            "nll_nats": finite(found.likelihood.nll_nats),
            "bpd": finite(found.likelihood.bpd),
            "roundtrip_max_abs": found.round_trip.and_then(|errors| finite(errors.data.largest)),
            "dequantize": self.dequantize,
        });
        if let Some(bound) = &found.bound {
            object["dequantize_samples"] = json!(self.dequantize_samples);
            object["nll_nats_bound"] = json!(finite(bound.nll_nats));
            object["bpd_bound"] = json!(finite(bound.bpd));
        }
        if let (Some(by_class), Some(classes)) = (&found.by_class, loaded.config.model.classes()) {
            object["classes"] = json!(classes.names);
            object["nll_nats_class_unknown"] = json!(finite(by_class.unknown.nll_nats));
            object["bpd_class_unknown"] = json!(finite(by_class.unknown.bpd));
            object["class_accuracy"] = json!(by_class.accuracy);
        }
        if let Some(errors) = &found.round_trip {
            object["roundtrip"] = json!(errors);
        }
        if let Some(lost) = &found.lost {
            object["not_finite"] = json!({
                "images": lost.images.len(),
                "first": lost.images.iter().take(LISTED).collect::<Vec<_>>(),
                "place": lost.place,
                "nll_nats_of_others": found.finite.map(|finite| finite.nll_nats),
                "bpd_of_others": found.finite.map(|finite| finite.bpd),
            });
        }
        if loaded.config.bits != Bits::ALL {
            object["bits"] = json!(loaded.config.bits);
        }
        // a run that knows only float32 is described as it always was
        let precisions = [loaded.config.precision, loaded.trained_in];
        if precisions != [Precision::Float32; 2] {
            object["precision"] = json!(precisions[0]);
            object["trained_in"] = json!(precisions[1]);
        }
        say(&serde_json::to_string(&object)?);
        Ok(())
    }

    fn print(&self, loaded: &model_file::Loaded, found: &Found) {
        say(&format!(
            "{} ({}) on {} {}, {}, {} dequantisation",
            loaded.config.model.name(),
            counted(model_file::scalars(&loaded.vs).0, "parameter"),
            self.images.name(&loaded.config),
            self.images.split,
            counted(found.likelihood.images, "image"),
            self.dequantize
        ));
        if loaded.config.bits != Bits::ALL {
            let bits = counted(u8::from(loaded.config.bits), "bit");
            say(&format!("a density of {bits} of every pixel"));
        }
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        let line = |what: &str, likelihood: &Likelihood| {
            say(&format!(
                "{what} {:.3} nats per image, {:.4} bits per dimension",
                likelihood.nll_nats, likelihood.bpd
            ));
        };
        match &found.by_class {
            None => line("NLL", &found.likelihood),
            Some(by_class) => {
                line("NLL given the class", &found.likelihood);
                // each class as probable as in the training images
                line("NLL with the class unknown", &by_class.unknown);
                say(&format!(
                    "most likely class: right for {:.2} % of the images",
                    100.0 * by_class.accuracy
                ));
            }
        }
        if let Some(bound) = &found.bound {
            let samples = counted(self.dequantize_samples, "sample");
            line(&format!("importance-weighted bound of {samples}"), bound);
        }
        if let (Some(lost), Some(finite)) = (&found.lost, &found.finite) {
            let others = found.likelihood.images - lost.images.len();
            line(
                &format!("NLL of the other {}", counted(others, "image")),
                finite,
            );
        }
        if let Some(errors) = &found.round_trip {
            say("round trip, largest error of an image as a part of the pixel range:");
            for (images, errors) in [("data", errors.data), ("samples", errors.samples)] {
                let lost = match errors.not_finite {
                    0 => String::new(),
                    lost => format!(" ({} not finite)", counted(lost, "image")),
                };
                say(&format!(
                    "  {images:<8} median {:.1e}, worst {:.1e}{lost}, within half a grey level {:.4} %",
                    errors.median,
                    errors.largest,
                    100.0 * errors.within_half_a_level
                ));
            }
        }
    }
}
