//! Puts a run together: a new one from its configuration, or one that goes on from a checkpoint.

use super::checkpoint::OPTIM;
use super::metrics::{Interval, Metrics};
use super::trainer::Clock;
use super::{
    save, to_float, Checkpoint, DeviceChoice, FileKind, Learner, Progress, Report, RunConfig,
    RunDir, Schedule, Trainer,
};
use crate::data::{self, stream, uniform_noise, Augmentation, Dataset, Epoch, Purpose};
use crate::flows::Cx;
use crate::models::{self, MultiScale};
use crate::weights::{Naming, StateFile};
use crate::{files, Error, Result};
use std::path::Path;
use tch::{nn::VarStore, Device, Kind, Tensor};

impl Trainer {
    /// A new run in the folder `root`: builds and initialises the model, writes `config.json` and a first
    /// checkpoint. An older run there is removed only with `overwrite`, and not before everything else is ready.
    ///
    /// # Errors
    /// A configuration that no run can be made from, data that are not there, a device that does not work, or a
    /// folder that is in use or cannot be written.
    pub fn new(config: RunConfig, root: &Path, overwrite: bool, quiet: bool) -> Result<Self> {
        RunDir::check_free(root, overwrite)?;
        let parts = Parts::prepare(config, quiet)?;
        let (mut model, vs) = build_model(&parts.config, parts.device)?;
        parts.initialize(&mut model)?;
        let learner = Learner::new(model, vs, &parts.config.train)?;
        let dir = RunDir::create(root, overwrite)?;
        let trainer = parts.into_trainer(dir, learner, Progress::default())?;
        // from here on an interrupted run can be resumed, whenever it is interrupted
        trainer.save(&trainer.dir.last())?;
        Ok(trainer)
    }

    /// The run of `dir` from its last checkpoint on; `change` may move its limits, its data folder and its device.
    ///
    /// # Errors
    /// As [`new`](Self::new), or a checkpoint that is missing, damaged or of another model.
    pub fn resume(dir: RunDir, quiet: bool, change: impl FnOnce(&mut RunConfig)) -> Result<Self> {
        if !dir.last().exists() {
            let problem = "has no checkpoint to resume from: start it again with --overwrite";
            return Err(Error::file(dir.root(), problem));
        }
        let checkpoint = Checkpoint::open(&dir.last())?;
        let mut config = checkpoint.config.clone();
        change(&mut config);
        let parts = Parts::prepare(config, quiet)?;
        let (model, vs) = build_model(&parts.config, parts.device)?;
        let mut learner = Learner::new(model, vs, &parts.config.train)?;
        checkpoint.load(&learner.vs, &learner.adam)?;
        let progress = checkpoint.progress;
        learner.set_skipped((progress.skipped, progress.skipped_in_row));
        let (step, epoch) = (progress.step, progress.epoch);
        let line = format!("resuming at step {step}, epoch {epoch}");
        parts.report.line(&line);
        parts.into_trainer(dir, learner, progress)
    }

    /// Writes a checkpoint of this moment to `path`.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let learner = &self.learner;
        save(
            path,
            &learner.vs,
            &learner.adam,
            &self.config,
            &self.progress(),
        )
    }
}

/// A model for evaluation or sampling with the content of a checkpoint.
///
/// # Errors
/// A checkpoint of another model than its configuration says.
pub fn load_model(checkpoint: &Checkpoint, device: Device) -> Result<(MultiScale, VarStore)> {
    let (model, vs) = build_model(&checkpoint.config, device)?;
    checkpoint.load_model(&vs)?;
    Ok((model, vs))
}

/// A model of `config` for evaluation or sampling with the content of a file of any format.
///
/// # Errors
/// A configuration that no model can be built from, or a file of another model; then nothing is changed.
pub fn load_state(
    file: &StateFile,
    config: &RunConfig,
    device: Device,
) -> Result<(MultiScale, VarStore)> {
    let (model, vs) = build_model(config, device)?;
    let targets = vs.variables().into_iter().collect();
    let layers = model.layers();
    let naming = match FileKind::of(file)? {
        Some(_) => Naming::Own {
            ignored: Some(OPTIM),
        },
        None => Naming::Any { layers: &layers },
    };
    file.load(targets, naming)?;
    Ok((model, vs))
}

/// A freshly drawn model, not yet initialised from data: the same parameters for the same seed.
///
/// # Errors
/// A configuration that no model can be built from.
pub fn build_model(config: &RunConfig, device: Device) -> Result<(MultiScale, VarStore)> {
    tch::manual_seed(config.seed as i64);
    let vs = VarStore::new(device);
    let model = models::build(&vs.root(), &config.model)?;
    Ok((model, vs))
}

/// What a run needs besides its model.
struct Parts {
    config: RunConfig,
    device: Device,
    train: Dataset,
    val: Dataset,
    report: Report,
}

impl Parts {
    fn prepare(config: RunConfig, quiet: bool) -> Result<Self> {
        config.validate()?;
        let report = Report::new(quiet);
        let picked = config.train.device.parse::<DeviceChoice>()?.pick()?;
        let splits = data::load(&config.data, config.seed)?;
        let (train, val) = (splits.train, splits.val);
        let image = config.model.image();
        if train.chw != image {
            return Err(Error::config(format!(
                "the model is for images of {image:?}, {} has {:?}: change `model.image` or the data",
                train.name, train.chw
            )));
        }
        report.line(&format!(
            "{} on {}, {} training and {} validation images, seed {}, device {}",
            config.model.name(),
            config.data.name,
            train.len(),
            val.len(),
            config.seed,
            picked.text
        ));
        Ok(Self {
            config,
            device: picked.device,
            train,
            val,
            report,
        })
    }

    /// Data-dependent initialisation from the first batch of the run, as its first step will see it.
    fn initialize(&self, model: &mut MultiScale) -> Result<()> {
        let epoch = self.epoch(1)?;
        let Some(indices) = epoch.batches().next() else {
            return Err(Error::config(format!("{} has no images", self.train.name)));
        };
        let (x, noise) = batch(&self.config, &self.train, indices, 0, self.device)?;
        let cx = Cx {
            noise: Some(&noise),
            ..Cx::default()
        };
        tch::no_grad(|| model.initialize(&x, cx))
    }

    fn epoch(&self, epoch: u64) -> Result<Epoch> {
        let config = &self.config;
        Epoch::train(
            self.train.len(),
            config.train.batch_size,
            config.seed,
            epoch,
        )
    }

    /// Writes `config.json` and puts everything together.
    fn into_trainer(self, dir: RunDir, learner: Learner, progress: Progress) -> Result<Trainer> {
        files::write(dir.config(), self.config.to_json()?)?;
        let steps_per_epoch = self.epoch(1)?.len() as u64;
        let t = &self.config.train;
        let warmup = (t.warmup_epochs * steps_per_epoch as f64).round() as u64;
        let schedule = Schedule {
            base: t.lr,
            warmup_steps: t.warmup_steps.unwrap_or(warmup),
            steps_per_epoch,
            decay: t.decay.clone(),
        };
        Ok(Trainer {
            metrics: Metrics::open(&dir.metrics(), progress.step)?,
            interval: Interval::default(),
            clock: Clock::starting_at(progress.seconds),
            config: self.config,
            dir,
            device: self.device,
            train: self.train,
            val: self.val,
            report: self.report,
            learner,
            schedule,
            progress,
        })
    }
}

/// The images of one training step and their dequantisation noise, both functions of the seed and of `step`.
pub(super) fn batch(
    config: &RunConfig,
    data: &Dataset,
    indices: &[usize],
    step: u64,
    device: Device,
) -> Result<(Tensor, Tensor)> {
    let bytes = if config.data.augment {
        let mut rng = stream(config.seed, Purpose::Augment, step);
        data.augmented_batch(indices, Augmentation::of(config.data.name), &mut rng)?
    } else {
        data.batch(indices)?
    };
    let x = to_float(&bytes, device)?;
    let mut rng = stream(config.seed, Purpose::Noise, step);
    let noise = uniform_noise(&mut rng, &x.size(), Kind::Float, device)?;
    Ok((x, noise))
}
