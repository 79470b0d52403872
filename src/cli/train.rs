//! `inverse-flow train`

use super::common::{move_to, Compute};
use super::pictures::{Pictures, Shape};
use super::ranks::Ranks;
use super::{signals, values, Screen};
use crate::data::{image_shape, Source};
use crate::flows::Bits;
use crate::models::Overrides;
use crate::nn::Precision;
use crate::train::{presets, say, Decay, Outcome, RunConfig, RunDir, Team, Trainer};
use crate::words::counted;
use clap::Args;
use std::path::{Path, PathBuf};

/// Train a model, or go on with a run that was stopped
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Run",
    disable_version_flag = true,
    override_usage = "inverse-flow train --out <RUN> [OPTIONS]
       inverse-flow train --resume <RUN> [OPTIONS]"
)]
#[command(
    after_help = "Presets to start from (inspect --presets lists all of them):
  quick/inverse-flow   the default: a small Inverse-Flow on built-in digits, minutes on two CPU cores
  quick/mnist          a larger one on MNIST, a quarter of an hour on two CPU cores
  table3/inverse-flow  the paper's Inverse-Flow on MNIST
  table6/inverse-flow  the paper's Inverse-Flow on CIFAR-10
Examples:
  inverse-flow train --preset quick/mnist --max-minutes 10 --out runs/mnist
  inverse-flow train --resume runs/mnist --max-minutes 20
Settings are the preset's, then those of the file, then the flags'. Ctrl-C saves and stops. docs/runs.md has more."
)]
pub struct TrainArgs {
    /// Folder of the new run
    #[arg(
        long,
        value_name = "RUN",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    out: Option<PathBuf>,
    /// Replace the run in that folder
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Go on with a run, with what these flags and its config.json change
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Go on with the run in --out if there is one: for jobs that are queued again
    #[arg(long, conflicts_with_all = ["resume", "overwrite"])]
    resume_or_start: bool,
    /// Print nothing but errors
    #[arg(long)]
    quiet: bool,
    #[command(flatten, next_help_heading = "Model and data")]
    model: Model,
    #[command(flatten, next_help_heading = "Model and data")]
    shape: Shape,
    #[command(flatten, next_help_heading = "Model and data")]
    pictures: Pictures,
    #[command(flatten, next_help_heading = "Limits")]
    limits: Limits,
    #[command(flatten, next_help_heading = "Optimisation")]
    optimisation: Optimisation,
    #[command(flatten, next_help_heading = "Machine")]
    compute: Compute,
    /// Folder of data files, or where yours are now [default: $INVERSE_FLOW_DATA, else data]
    #[arg(long, value_name = "DIR", help_heading = "Machine")]
    data_dir: Option<PathBuf>,
    /// Minutes between two checkpoints inside an epoch [default: 5]
    #[arg(long, value_name = "T", help_heading = "Machine")]
    checkpoint_minutes: Option<f64>,
    /// Steps between two lines of metrics.jsonl, for which a GPU is waited for [default: 10]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    log_every: Option<u64>,
}

/// What a run is about; most of it is fixed once it has begun.
#[derive(Debug, Args)]
#[group(id = "Model", multiple = true)]
struct Model {
    /// Named settings to start from; see below
    #[arg(long, value_name = "P", value_parser = values::preset(), hide_possible_values = true)]
    preset: Option<String>,
    /// JSON file with any of the keys of a run's config.json
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Flow family, such as finc or macow; alone it stands for --preset quick/M
    #[arg(long, value_name = "M", value_parser = values::model(), hide_possible_values = true)]
    model: Option<String>,
    /// glyphs (built in), mnist, cifar10, noise64, or a path of pictures or arrays: docs/data.md
    #[arg(long, value_name = "DATA", value_parser = values::data(), hide_possible_values = true)]
    data: Option<Source>,
    /// Levels of squeeze and split
    #[arg(long, value_name = "L")]
    levels: Option<usize>,
    /// Flow steps on each level
    #[arg(long, value_name = "K")]
    steps: Option<usize>,
    /// Side of the kernels of the family's convolution
    #[arg(long, value_name = "k")]
    kernel: Option<i64>,
    /// Hidden channels of the coupling nets
    #[arg(long, value_name = "W")]
    width: Option<i64>,
    /// What the coupling nets compute in: float32, tf32 or bfloat16
    #[arg(long, value_name = "X", value_parser = values::precision(), hide_possible_values = true)]
    precision: Option<Precision>,
    /// Bits of a pixel that the model is a density of, 1 to 8; Glow's 5 make 32 grey levels
    #[arg(long, value_name = "B", value_parser = values::bits(), hide_possible_values = true)]
    bits: Option<Bits>,
    /// Use only the first N images of every split
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Shift training images at random, and flip those of cifar10
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    augment: Option<bool>,
    /// Seed of everything random
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// When a run ends; may be changed when it goes on.
#[derive(Debug, Args)]
struct Limits {
    /// Passes over the training images
    #[arg(long, value_name = "E")]
    epochs: Option<u64>,
    /// Stop after N steps
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Stop after T minutes of training, all sessions together
    #[arg(long, value_name = "T")]
    max_minutes: Option<f64>,
}

/// How the parameters are fitted.
#[derive(Debug, Args)]
#[group(id = "Optimisation", multiple = true)]
struct Optimisation {
    /// Images per step
    #[arg(long, value_name = "B")]
    batch_size: Option<usize>,
    /// Learning rate of Adam after the warm-up
    #[arg(long, value_name = "R")]
    lr: Option<f64>,
    /// Length of the linear warm-up in epochs; fractions are allowed
    #[arg(long, value_name = "E")]
    warmup_epochs: Option<f64>,
    /// Length of the linear warm-up in steps
    #[arg(long, value_name = "N", conflicts_with = "warmup_epochs")]
    warmup_steps: Option<u64>,
    /// Factor on the learning rate for each epoch after the warm-up; 1 keeps it
    #[arg(long, value_name = "F")]
    decay: Option<f64>,
    /// Let the learning rate fall by half a cosine, to 0 at step N
    #[arg(long, value_name = "N", conflicts_with = "decay")]
    cosine: Option<u64>,
    /// L2 penalty
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient; 0 means no limit
    #[arg(long, value_name = "X")]
    clip_norm: Option<f64>,
    /// Limit every parameter to [-X, X], as the published code does
    #[arg(long, value_name = "X")]
    clamp_weights: Option<f64>,
    /// Validate every N steps instead of after epochs
    #[arg(long, value_name = "N")]
    val_every: Option<u64>,
    /// Validate with the first N images of the validation split only
    #[arg(long, value_name = "N")]
    val_limit: Option<usize>,
    /// Images in the sample grid of every validation; 0 for none
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Stop when validation reaches X bits per dimension
    #[arg(long, value_name = "X")]
    target_bpd: Option<f64>,
    /// Save memory: compute activations again in the backward pass
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    rebuild_activations: Option<bool>,
}

/// What `train -h` leaves to `train --help`.
const RARE: [&str; 29] = [
    "resume_or_start",
    "samples",
    "precision",
    "bits",
    "image",
    "fit",
    "background",
    "skip_damaged",
    "pad",
    "val_fraction",
    "overwrite",
    "config",
    "levels",
    "kernel",
    "limit",
    "augment",
    "rebuild_activations",
    "warmup_epochs",
    "warmup_steps",
    "decay",
    "cosine",
    "weight_decay",
    "clip_norm",
    "clamp_weights",
    "val_every",
    "val_limit",
    "target_bpd",
    "checkpoint_minutes",
    "log_every",
];

/// The command with the flags of the first days alone.
pub fn in_short(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let rare = RARE.contains(&arg.get_id().as_str());
            arg.hide(rare)
        })
        .after_help(
            "--help explains all flags and has examples; inspect --presets lists the presets.",
        )
}

impl TrainArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        self.compute.apply_threads();
        signals::install()?;
        let ranks = Ranks::join(self.advice())?;
        let done = self.train(&ranks);
        ranks.conclude(done)
    }

    fn train(&self, ranks: &Ranks) -> anyhow::Result<()> {
        let team = &ranks.team;
        let screen = Box::new(Screen::new(self.quiet));
        let (root, mut trainer) = match (&self.resume, &self.out) {
            (Some(root), _) => (root, self.go_on(team, root, screen)?),
            // torchrun repeats the command that began the run
            (None, Some(root)) if team.from_main(|| ranks.has_begun(root))? => {
                (root, self.go_on(team, root, screen)?)
            }
            (None, Some(root)) if self.resume_or_start && team.from_main(|| began(root))? => {
                (root, self.go_on(team, root, screen)?)
            }
            (None, Some(root)) => {
                let config = team.from_main(|| self.resolve())?;
                // a run that was ended before its first checkpoint has nothing to go on from
                let overwrite = self.overwrite || self.resume_or_start;
                let trainer = Trainer::new_in(team.clone(), config, root, overwrite, screen)?;
                ranks.begun(root)?;
                (root, trainer)
            }
            (None, None) => anyhow::bail!("either --out or --resume is needed"),
        };
        let outcome = trainer.run()?;
        if outcome == Outcome::Finished && !self.quiet && team.is_main() {
            summarise(root, &trainer);
        }
        Ok(())
    }

    fn go_on(&self, team: &Team, root: &Path, screen: Box<Screen>) -> crate::Result<Trainer> {
        let dir = match team.is_main() {
            true => RunDir::open(root)?,
            false => RunDir::elsewhere(root),
        };
        Trainer::resume_in(team.clone(), dir, screen, |config| {
            if !self.resume_or_start {
                return self.change(config);
            }
            // the same command as before says all that the run is
            *config = self.resolve()?;
            Ok(())
        })
    }

    /// What to do after the end of one of several processes.
    fn advice(&self) -> String {
        let root = self.resume.as_deref().or(self.out.as_deref());
        let root = root.unwrap_or(Path::new("RUN")).display();
        format!(
            "once that is mended, `inverse-flow train --resume {root}` continues from the last checkpoint, under torchrun with any number of processes"
        )
    }

    fn resolve(&self) -> crate::Result<RunConfig> {
        let model = &self.model;
        let preset = match (&model.preset, &model.config, &model.model) {
            (None, None, Some(family)) => Some(presets::for_model(family)?),
            (preset, ..) => preset.clone(),
        };
        let mut config = RunConfig::resolve(preset.as_deref(), model.config.as_deref())?;
        model.apply(&mut config, &self.shape, &self.pictures)?;
        self.apply(&mut config);
        Ok(config)
    }

    /// Changes a run that has begun; what may not be changed is found out later.
    fn change(&self, config: &mut RunConfig) -> crate::Result<()> {
        let model = &self.model;
        if let Some(file) = &model.config {
            *config = config.with_file(file)?;
        }
        config.preset = model.preset.clone().or(config.preset.take());
        if model.changes_the_model() || self.shape.is_given() {
            model.apply(config, &self.shape, &self.pictures)?;
        } else {
            model.apply_small(config);
            self.pictures.apply(&mut config.data);
        }
        self.apply(config);
        Ok(())
    }

    /// Everything but what the run is about.
    fn apply(&self, config: &mut RunConfig) {
        self.optimisation.apply(config);
        let t = &mut config.train;
        replace(&mut t.epochs, self.limits.epochs);
        replace(&mut t.checkpoint_minutes, self.checkpoint_minutes);
        replace(&mut t.log_every, self.log_every);
        replace(
            &mut t.device,
            self.compute.device.map(|device| device.to_string()),
        );
        t.threads = self.compute.threads.or(t.threads);
        t.max_steps = self.limits.max_steps.or(t.max_steps);
        t.max_minutes = self.limits.max_minutes.or(t.max_minutes);
        if let Some(dir) = &self.data_dir {
            move_to(&mut config.data, dir);
        }
    }
}

impl Model {
    fn apply(
        &self,
        config: &mut RunConfig,
        shape: &Shape,
        pictures: &Pictures,
    ) -> crate::Result<()> {
        let data = &mut config.data;
        if let Some(source) = &self.data {
            (data.name, data.image) = (source.clone().absolute()?, None);
            data.fingerprint = None;
        }
        shape.apply(data);
        pictures.apply(data);
        self.apply_small(config);
        config.model.change(&Overrides {
            model: self.model.clone(),
            image: Some(image_shape(&config.data)?),
            levels: self.levels,
            steps: self.steps,
            kernel: self.kernel,
            width: self.width,
        })
    }
}

impl Model {
    /// Whether something is given that the architecture depends on.
    fn changes_the_model(&self) -> bool {
        let sizes = [
            self.levels.is_some(),
            self.steps.is_some(),
            self.kernel.is_some(),
            self.width.is_some(),
        ];
        self.model.is_some() || self.data.is_some() || sizes.contains(&true)
    }

    /// What the architecture does not depend on.
    fn apply_small(&self, config: &mut RunConfig) {
        config.data.limit = self.limit.or(config.data.limit);
        replace(&mut config.data.augment, self.augment);
        replace(&mut config.seed, self.seed);
        replace(&mut config.precision, self.precision);
        replace(&mut config.bits, self.bits);
    }
}

impl Optimisation {
    fn apply(&self, config: &mut RunConfig) {
        let t = &mut config.train;
        replace(&mut t.batch_size, self.batch_size);
        replace(&mut t.lr, self.lr);
        replace(&mut t.weight_decay, self.weight_decay);
        if let Some(epochs) = self.warmup_epochs {
            (t.warmup_epochs, t.warmup_steps) = (epochs, None);
        }
        t.warmup_steps = self.warmup_steps.or(t.warmup_steps);
        replace(
            &mut t.decay,
            self.decay.map(|factor| Decay::Exponential { factor }),
        );
        replace(
            &mut t.decay,
            self.cosine.map(|steps| Decay::CosineSteps { steps }),
        );
        if let Some(norm) = self.clip_norm {
            t.clip_norm = (norm != 0.0).then_some(norm);
        }
        replace(&mut t.rebuild_activations, self.rebuild_activations);
        t.val_every_steps = self.val_every.or(t.val_every_steps);
        t.val_limit = self.val_limit.or(t.val_limit);
        replace(&mut t.samples, self.samples);
        t.target_bpd = self.target_bpd.or(t.target_bpd);
        t.clamp_weights = self.clamp_weights.or(t.clamp_weights);
    }
}

/// Whether there is a run to go on with.
fn began(root: &Path) -> crate::Result<bool> {
    Ok(RunDir::open(root).is_ok_and(|dir| dir.last().exists()))
}

fn replace<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn summarise(root: &Path, trainer: &Trainer) {
    let progress = trainer.progress();
    let best = progress
        .best_bpd
        .map(|bpd| format!(", best validation {bpd:.4} bits/dim"))
        .unwrap_or_default();
    say(&format!(
        "done: {} in {:.0} s{best}; see samples/ and curves.png in {}",
        counted(progress.step, "step"),
        progress.seconds,
        root.display()
    ));
}
