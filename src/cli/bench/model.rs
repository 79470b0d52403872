//! `inverse-flow bench model`: where a training step's time goes, layer kind by layer kind.

use super::head::head;
use super::kinds::{by_kind, Kinds};
use crate::cli::compute::Compute;
use crate::cli::doctor::float32;
use crate::cuda::check;
use crate::cuda::counts::Counts;
use crate::data::{stream, Purpose};
use crate::ffi::peak::{self, Peak};
use crate::flows::Cx;
use crate::models::{Latents, MultiScale};
use crate::nn::Precision;
use crate::ops::eagerly;
use crate::train::timing::{compare, compare_samples, Clock, Pace, Timing};
use crate::train::{
    build_model, classes_in_turn, initialize_at_random, prior_latents, say, Learner, RunConfig,
};
use crate::words;
use crate::{Error, Result};
use clap::Args;
use serde_json::{json, Map, Value};
use tch::{Device, Tensor};

/// Time training step, forward pass and sampling of whole models
#[derive(Debug, Args)]
#[command(
    after_help = "Example: inverse-flow bench model --preset table3/inverse-flow --threads 2
The images are random and of the preset's size, so no data are needed. Times are milliseconds, the median of samples taken
in turn and the distance of their quartiles; peak memory is that of the training steps. Shares are of the sum over the
optimiser and all stages, each run by itself, forward and backward. scripts/peer_pytorch.py times the same model in PyTorch."
)]
pub struct ModelArgs {
    /// Preset; may be repeated [default: table3/inverse-flow and table6/inverse-flow]
    #[arg(long, value_name = "P", value_parser = crate::cli::values::preset(), hide_possible_values = true)]
    preset: Vec<String>,
    /// JSON file with settings that replace those of the presets, as for train
    #[arg(long, value_name = "F")]
    config: Option<std::path::PathBuf>,
    /// Let the nets compute in float32, tf32 or bfloat16 [default: that of the preset]
    #[arg(long, value_name = "X", value_parser = crate::cli::values::precision(), hide_possible_values = true)]
    precision: Option<Precision>,
    /// Images of a training step and of the forward pass
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    batch: i64,
    /// Number of samples of each time
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
    samples: u64,
    /// Also time the model with plain tensor operations instead of the fused operators
    #[arg(long)]
    eager: bool,
    /// Also measure a training step that rebuilds its activations
    #[arg(long)]
    rebuild: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

/// What is measured of one preset.
struct ModelTimes {
    step: Timing,
    forward: Timing,
    sample_1: Timing,
    sample_100: Timing,
    /// Step, forward and sampling of 100 without the fused operators.
    eager: Option<[Timing; 3]>,
    /// Peak memory of the training steps.
    peak: Peak,
    /// A step that rebuilds its activations, and the peak memory of such steps.
    rebuild: Option<(Timing, Peak)>,
    /// What a step that is not read, a forward pass and sampling of 100 ask of the device, where that is counted.
    counts: Option<[Counts; 3]>,
    /// Milliseconds by layer kind: forward, backward; the optimiser has one number.
    kinds: Kinds,
}

impl ModelArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let device = self.compute.start()?;
        let default = ["table3/inverse-flow", "table6/inverse-flow"].map(str::to_owned);
        let names = match self.preset.as_slice() {
            [] => &default[..],
            names => names,
        };
        if !self.json {
            say(&format!(
                "{}, batch {}, milliseconds (quartile distance), {}",
                head(device),
                self.batch,
                Clock::name(device)
            ));
        }
        for name in names {
            let mut config = RunConfig::resolve(Some(name), self.config.as_deref())?;
            config.precision = self.precision.unwrap_or(config.precision);
            if let Some(remark) = config.precision.remark(device) {
                eprintln!("precision: {remark}");
            }
            let report = self.measure(&config, device)?;
            say(&match self.json {
                true => {
                    serde_json::to_string(&self.to_json((name, config.precision), device, &report))?
                }
                false => self.to_text((name, config.precision), &report),
            });
        }
        Ok(())
    }

    fn measure(&self, config: &RunConfig, device: Device) -> Result<ModelTimes> {
        peak::reset(device)?;
        let (mut model, vs) = build_model(config, device)?;
        let mut rng = stream(0, Purpose::Noise, 0);
        let batch = initialize_at_random(&mut model, self.batch, &mut rng, device)?;
        let (x, given, cx) = (&batch.x, batch.given(), batch.cx());
        let drawn = [1, 100].map(|n| {
            let latents = prior_latents(&model, n, 0, device)?;
            Ok::<_, Error>((latents, classes_in_turn(&model, n)?))
        });
        let [one, hundred] = drawn;
        let (one, hundred) = (one?, hundred?);
        let mut learner = Learner::new(model, vs, &config.train)?;
        let samples = self.samples as usize;

        // first, so that the peak is that of training
        let [step] = compare_samples(
            device,
            Pace::Host,
            samples,
            [&mut || learner.step(x, given, 1e-6).map(drop)],
        )?;
        let peak = peak::peak(device)?;
        let model = &learner.model;
        let [sample_1] = compare(device, Pace::Host, [&mut || sample(model, &one)])?;
        let [forward, sample_100] = compare_samples(
            device,
            Pace::Host,
            samples,
            [
                &mut || tch::no_grad(|| model.log_prob(x, cx)).map(drop),
                &mut || sample(model, &hundred),
            ],
        )?;
        let eager = self.eager.then(|| {
            eagerly(|| {
                let [step] = compare_samples(
                    device,
                    Pace::Host,
                    samples,
                    [&mut || learner.step(x, given, 1e-6).map(drop)],
                )?;
                let model = &learner.model;
                let [forward, sample_100] = compare_samples(
                    device,
                    Pace::Host,
                    samples,
                    [
                        &mut || tch::no_grad(|| model.log_prob(x, cx)).map(drop),
                        &mut || sample(model, &hundred),
                    ],
                )?;
                Ok::<_, Error>([step, forward, sample_100])
            })
        });
        let eager = eager.transpose()?;
        let rebuild = self.rebuild.then(|| {
            learner.rebuild_activations(true);
            peak::reset(device)?;
            let step = &mut || learner.step(x, given, 1e-6).map(drop);
            let [timing] = compare_samples(device, Pace::Host, samples, [step])?;
            Ok::<_, Error>((timing, peak::peak(device)?))
        });
        let rebuild = rebuild.transpose()?;
        let of_step = Counts::of(|| learner.queue(x, given, 1e-6))?;
        learner.read()?;
        let counts = [
            of_step,
            Counts::of(|| tch::no_grad(|| learner.model.log_prob(x, cx)).map(drop))?,
            Counts::of(|| sample(&learner.model, &hundred))?,
        ];
        let kinds = by_kind(&mut learner, x, cx, device, self.samples)?;
        check(device).map_err(|err| learner.model.locate(err, cx))?;
        Ok(ModelTimes {
            step,
            forward,
            sample_1,
            sample_100,
            eager,
            peak,
            rebuild,
            counts: all(counts),
            kinds,
        })
    }

    fn to_json(
        &self,
        (name, precision): (&str, Precision),
        device: Device,
        report: &ModelTimes,
    ) -> Value {
        let time = |timing: &Timing, images: i64| {
            json!({
                "median_ms": timing.median_ms,
                "iqr_ms": timing.iqr_ms,
                "images_per_s": images as f64 * 1e3 / timing.median_ms,
            })
        };
        let total: f64 = report.kinds.values().flatten().sum();
        let kinds: Map<String, Value> = report
            .kinds
            .iter()
            .map(|(kind, [forward, backward])| {
                let value = json!({
                    "forward_ms": forward,
                    "backward_ms": backward,
                    "share": (forward + backward) / total,
                });
                ((*kind).to_owned(), value)
            })
            .collect();
        json!({
            "bench": "model",
            "preset": name,
            "device": words::device(device),
            "threads": tch::get_num_threads(),
            "timer": Clock::name(device),
            "float32": float32(device),
            "precision": precision,
            "batch": self.batch,
            "step": time(&report.step, self.batch),
            "forward": time(&report.forward, self.batch),
            "sample_1": time(&report.sample_1, 1),
            "sample_100": time(&report.sample_100, 100),
            "counts": report.counts.map(|[step, forward, sample_100]| json!({
                "step": step,
                "forward": forward,
                "sample_100": sample_100,
            })),
            "peak_mib": report.peak.mib,
            "peak_is": report.peak.what,
            "rebuild": report.rebuild.map(|(step, peak)| json!({
                "step": time(&step, self.batch),
                "peak_mib": peak.mib,
            })),
            "eager": report.eager.map(|[step, forward, sample_100]| json!({
                "step": time(&step, self.batch),
                "forward": time(&forward, self.batch),
                "sample_100": time(&sample_100, 100),
            })),
            "kinds": kinds,
        })
    }

    fn to_text(&self, (name, precision): (&str, Precision), report: &ModelTimes) -> String {
        let mut text = name.to_owned();
        if precision != Precision::Float32 {
            text += &format!(", nets in {precision}");
        }
        for (what, timing, images) in [
            ("training step", &report.step, self.batch),
            ("forward", &report.forward, self.batch),
            ("sample 1", &report.sample_1, 1),
            ("sample 100", &report.sample_100, 100),
        ] {
            text += &format!(
                "\n  {what:<14} {:>9.2} ({:.2})  {:>9.1} images/s",
                timing.median_ms,
                timing.iqr_ms,
                images as f64 * 1e3 / timing.median_ms
            );
        }
        if let Some(counts) = &report.counts {
            for (what, counts) in ["training step", "forward", "sample 100"]
                .iter()
                .zip(counts)
            {
                let launches = words::counted(counts.launches, "launch");
                let waits = words::counted(counts.waits, "wait");
                text += &format!("\n  {what:<14} {launches}, {waits} for the device");
            }
        }
        let Peak { mib, what } = report.peak;
        text += &format!("\n  peak memory    {mib:>9.0} MiB ({what})");
        if let Some((step, peak)) = &report.rebuild {
            text += &format!(
                "\n  rebuilding activations\n  training step  {:>9.2} ({:.2})  {:.2} times as long\n  peak memory    {:>9.0} MiB",
                step.median_ms,
                step.iqr_ms,
                step.median_ms / report.step.median_ms,
                peak.mib
            );
        }
        if let Some(eager) = &report.eager {
            text += "\n  without the fused operators";
            let fused = [&report.step, &report.forward, &report.sample_100];
            let names = ["training step", "forward", "sample 100"];
            for ((what, fused), eager) in names.iter().zip(fused).zip(eager) {
                let (time, times) = (eager.median_ms, eager.median_ms / fused.median_ms);
                text += &format!("\n  {what:<14} {time:>9.2} ms, {times:.2} times as long");
            }
        }
        let total: f64 = report.kinds.values().flatten().sum();
        text += "\n  layer kind        forward  backward  share";
        for (kind, [forward, backward]) in &report.kinds {
            let share = 100.0 * (forward + backward) / total;
            text += &format!("\n  {kind:<16} {forward:>8.2}  {backward:>8.2}  {share:>4.1} %");
        }
        text
    }
}

/// Latents, and what a conditional model is told of their images.
type Drawn = (Latents, Option<Tensor>);

fn sample(model: &MultiScale, (latents, condition): &Drawn) -> Result<()> {
    let cx = Cx {
        condition: condition.as_ref(),
        ..Cx::default()
    };
    tch::no_grad(|| model.decode(latents, cx)).map(drop)
}

/// All of them, if every one is there.
fn all<const N: usize, T: Copy>(values: [Option<T>; N]) -> Option<[T; N]> {
    let all: Option<Vec<T>> = values.into_iter().collect();
    all.and_then(|all| all.try_into().ok())
}
