//! `inverse-flow train`

mod flags;
mod initial;

use self::flags::{replace, Limits, Model, Optimisation};
use self::initial::Initial;
use super::compute::Compute;
use super::exit::Told;
use super::images::move_to;
use super::pictures::{Pictures, Shape};
use super::ranks::Ranks;
use super::{signals, Screen};
use crate::train::{presets, say, Outcome, RunConfig, RunDir, Team, Trainer};
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
    #[command(flatten, next_help_heading = "First weights")]
    initial: Initial,
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

/// What `train -h` leaves to `train --help`.
const RARE: &[&str] = &[
    "conditional",
    "accumulate",
    "patience",
    "min_delta",
    "keep",
    "ema",
    "init_from",
    "partial",
    "key",
    "prefix",
    "no_ema",
    "tensorboard",
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
        self.compute.apply_threads()?;
        signals::install()?;
        let ranks = Ranks::join(self.advice())?;
        let mut outcome = Outcome::Finished;
        let done = self.train(&ranks).map(|ended| outcome = ended);
        ranks.conclude(done)?;
        match outcome {
            Outcome::Finished => Ok(()),
            Outcome::Interrupted => Err(Told {
                exit_code: signals::exit_status(),
            }
            .into()),
        }
    }

    fn train(&self, ranks: &Ranks) -> anyhow::Result<Outcome> {
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
        Ok(outcome)
    }

    fn go_on(&self, team: &Team, root: &Path, screen: Box<Screen>) -> crate::Result<Trainer> {
        let dir = match team.is_main() {
            true => RunDir::open(root)?,
            false => RunDir::elsewhere(root),
        };
        Trainer::resume_in(team.clone(), dir, screen, |config| {
            if !self.resume_or_start || self.begins_as_its_weights() {
                return self.change(config);
            }
            // the same command as before says all that the run is
            let begun = config.init_from.take();
            *config = self.resolve()?;
            match (begun, &mut config.init_from) {
                (Some(begun), Some(again)) => again.fingerprint = begun.fingerprint,
                (begun, _) => config.init_from = begun,
            }
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
        let mut config = match self.begins_as_its_weights() {
            false => RunConfig::resolve(preset.as_deref(), model.config.as_deref())?,
            true => {
                let config = self
                    .initial
                    .config()?
                    .unwrap_or(RunConfig::resolve(None, None)?);
                match &model.config {
                    Some(file) => config.with_file(file)?,
                    None => config,
                }
            }
        };
        config.init_from = self.initial.given()?.or(config.init_from);
        model.apply(&mut config, &self.shape, &self.pictures)?;
        self.apply(&mut config);
        Ok(config)
    }

    /// Whether all settings that are not given are those of the run whose weights this one begins with.
    fn begins_as_its_weights(&self) -> bool {
        let Model { preset, model, .. } = &self.model;
        self.initial.is_given() && preset.is_none() && model.is_none()
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

/// Whether there is a run to go on with.
fn began(root: &Path) -> crate::Result<bool> {
    Ok(RunDir::open(root).is_ok_and(|dir| dir.last().exists()))
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
