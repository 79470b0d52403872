//! `inverse-flow train`

use super::common::Compute;
use super::{signals, Screen};
use crate::data::DataName;
use crate::models::Overrides;
use crate::train::{presets, say, Decay, Outcome, RunConfig, RunDir, Trainer};
use clap::Args;
use std::path::{Path, PathBuf};

/// Trains a model, or goes on with a run that was stopped
///
/// Settings come from the defaults, then the preset, then the file, then the flags. The run folder gets config.json,
/// metrics.jsonl, checkpoints/last.safetensors and best.safetensors, samples/epoch-0001.png, curves.png. Ctrl-C saves
/// and stops; a second one stops at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples: inverse-flow train --out runs/first
          inverse-flow train --preset quick/mnist --max-minutes 10 --out runs/mnist
          inverse-flow train --resume runs/mnist --max-minutes 20")]
pub struct TrainArgs {
    /// Folder of the new run
    #[arg(
        long,
        value_name = "RUN",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    out: Option<PathBuf>,
    /// Replace the run that is in the folder
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Go on with this run, exactly as if it had not been stopped (bit for bit on the CPU of the same machine, with the
    /// same --threads)
    #[arg(long, value_name = "RUN", conflicts_with_all = ["Model", "Optimisation"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    model: Model,
    /// Folder of the data files [default: $INVERSE_FLOW_DATA, else data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Passes over the training images
    #[arg(long, value_name = "E")]
    epochs: Option<u64>,
    /// Stop after N steps of the run
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Stop after T minutes of the run, all sessions together
    #[arg(long, value_name = "T")]
    max_minutes: Option<f64>,
    #[command(flatten)]
    optimisation: Optimisation,
    /// Minutes between two checkpoints inside an epoch [default: 5]
    #[arg(long, value_name = "T")]
    checkpoint_minutes: Option<f64>,
    #[command(flatten)]
    compute: Compute,
    /// Print nothing but errors
    #[arg(long)]
    quiet: bool,
}

/// What a run is about; fixed once it has begun.
#[derive(Debug, Args)]
#[group(id = "Model", multiple = true)]
struct Model {
    /// Named settings to start from, for instance table3/inverse-flow; an unknown name lists all
    #[arg(long, value_name = "P", long_help = preset_help())]
    preset: Option<String>,
    /// JSON file with any subset of the keys of a run's config.json
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Flow family: inverse-flow, snf, emerging, finc, cinc, woodbury, butterfly, macow or mintnet. Alone it stands for
    /// --preset quick/M; beside a preset or a file it takes the place of their family, on the same backbone
    #[arg(long, value_name = "M")]
    model: Option<String>,
    /// Data set: glyphs (built in), mnist or cifar10; noise64 for random images of 3x64x64
    #[arg(long, value_name = "DATA")]
    data: Option<DataName>,
    /// Levels of squeeze and split
    #[arg(long, value_name = "L")]
    levels: Option<usize>,
    /// Flow steps per level
    #[arg(long, value_name = "K")]
    steps: Option<usize>,
    /// Kernel size of the family's convolution
    #[arg(long, value_name = "k")]
    kernel: Option<i64>,
    /// Hidden channels of the coupling nets
    #[arg(long, value_name = "W")]
    width: Option<i64>,
}

/// How the parameters are fitted; fixed once a run has begun.
#[derive(Debug, Args)]
#[group(id = "Optimisation", multiple = true)]
struct Optimisation {
    /// Images per step
    #[arg(long, value_name = "B")]
    batch_size: Option<usize>,
    /// Learning rate of Adam at the end of the warm-up
    #[arg(long, value_name = "R")]
    lr: Option<f64>,
    /// Epochs of linear warm-up; fractions are allowed
    #[arg(long, value_name = "E")]
    warmup_epochs: Option<f64>,
    /// Steps of linear warm-up
    #[arg(long, value_name = "N", conflicts_with = "warmup_epochs")]
    warmup_steps: Option<u64>,
    /// Factor on the learning rate after every epoch that follows the warm-up; 1 keeps it constant
    #[arg(long, value_name = "F")]
    decay: Option<f64>,
    /// L2 penalty
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient; 0 for no limit
    #[arg(long, value_name = "X")]
    clip_norm: Option<f64>,
    /// Rebuild activations in the backward pass instead of keeping them: less memory, longer steps
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    rebuild_activations: Option<bool>,
    /// Stop after a validation with at most X bits per dimension
    #[arg(long, value_name = "X")]
    target_bpd: Option<f64>,
    /// Clamp every parameter to [-X, X] after every step, as the published Inverse-Flow code does; for comparisons only
    #[arg(long, value_name = "X")]
    clamp_weights: Option<f64>,
    /// Seed of everything random
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Only the first N images of every split
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Shift (and for cifar10 flip) training images at random
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    augment: Option<bool>,
}

fn preset_help() -> String {
    let mut text = "Named settings to start from".to_owned();
    for preset in presets::all() {
        let default = if preset.name == presets::DEFAULT {
            " (default)"
        } else {
            ""
        };
        text += &format!("\n- {}{default}: {}", preset.name, preset.about);
    }
    text
}

impl TrainArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        self.compute.apply_threads();
        signals::install()?;
        let screen = Box::new(Screen::new(self.quiet));
        let (root, mut trainer) = match (&self.resume, &self.out) {
            (Some(root), _) => {
                let dir = RunDir::open(root)?;
                let trainer = Trainer::resume(dir, screen, |config| self.limits(config))?;
                (root, trainer)
            }
            (None, Some(root)) => {
                let config = self.resolve()?;
                (root, Trainer::new(config, root, self.overwrite, screen)?)
            }
            (None, None) => anyhow::bail!("either --out or --resume is needed"),
        };
        let outcome = trainer.run()?;
        if outcome == Outcome::Finished && !self.quiet {
            summarise(root, &trainer);
        }
        Ok(())
    }

    fn resolve(&self) -> crate::Result<RunConfig> {
        let model = &self.model;
        let preset = match (&model.preset, &model.config, &model.model) {
            (None, None, Some(family)) => Some(presets::for_model(family)?),
            (preset, ..) => preset.clone(),
        };
        let mut config = RunConfig::resolve(preset.as_deref(), model.config.as_deref())?;
        model.apply(&mut config)?;
        self.optimisation.apply(&mut config);
        self.limits(&mut config);
        Ok(config)
    }

    /// What may be changed in a run that has begun.
    fn limits(&self, config: &mut RunConfig) {
        let t = &mut config.train;
        replace(&mut t.epochs, self.epochs);
        replace(&mut t.checkpoint_minutes, self.checkpoint_minutes);
        replace(
            &mut t.device,
            self.compute.device.map(|device| device.to_string()),
        );
        t.max_steps = self.max_steps.or(t.max_steps);
        t.max_minutes = self.max_minutes.or(t.max_minutes);
        replace(&mut config.data.dir, self.data_dir.clone());
    }
}

impl Model {
    fn apply(&self, config: &mut RunConfig) -> crate::Result<()> {
        replace(&mut config.data.name, self.data);
        config.model.change(&Overrides {
            model: self.model.clone(),
            image: self.data.map(DataName::chw),
            levels: self.levels,
            steps: self.steps,
            kernel: self.kernel,
            width: self.width,
        })
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
        if let Some(norm) = self.clip_norm {
            t.clip_norm = (norm != 0.0).then_some(norm);
        }
        replace(&mut t.rebuild_activations, self.rebuild_activations);
        t.target_bpd = self.target_bpd.or(t.target_bpd);
        t.clamp_weights = self.clamp_weights.or(t.clamp_weights);
        replace(&mut config.seed, self.seed);
        config.data.limit = self.limit.or(config.data.limit);
        replace(&mut config.data.augment, self.augment);
    }
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
        "done: {} steps in {:.0} s{best}; see samples/ and curves.png in {}",
        progress.step,
        progress.seconds,
        root.display()
    ));
}
