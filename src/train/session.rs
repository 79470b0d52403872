//! Puts a run together: a new one from its configuration, or one that goes on from a checkpoint.

use super::clock::Clock;
use super::feed::{order, Feed};
use super::metrics::{Metrics, Sums};
use super::{
    build_model, Checkpoint, DeviceChoice, Figures, Learner, Progress, RunConfig, RunDir, Schedule,
    Trainer, Watch,
};
use crate::data::{self, Dataset};
use crate::flows::Cx;
use crate::models::MultiScale;
use crate::nn::Precision;
use crate::{files, Error, Result};
use std::path::Path;
use tch::Device;

impl Trainer {
    /// A new run in the folder `root`: builds and initialises the model, writes `config.json` and a first
    /// checkpoint. An older run there is removed only with `overwrite`, and not before everything else is ready.
    ///
    /// # Errors
    /// A configuration that no run can be made from, data that are not there, a device that does not work, or a
    /// folder that is in use or cannot be written.
    pub fn new(
        config: RunConfig,
        root: &Path,
        overwrite: bool,
        watch: Box<dyn Watch>,
    ) -> Result<Self> {
        RunDir::check_free(root, overwrite)?;
        let parts = Parts::prepare(config, watch)?;
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
    pub fn resume(
        dir: RunDir,
        watch: Box<dyn Watch>,
        change: impl FnOnce(&mut RunConfig),
    ) -> Result<Self> {
        if !dir.last().exists() {
            let problem = "has no checkpoint to resume from: start it again with --overwrite";
            return Err(Error::file(dir.root(), problem));
        }
        let checkpoint = Checkpoint::open(&dir.last())?;
        let mut config = checkpoint.config.clone();
        change(&mut config);
        let mut parts = Parts::prepare(config, watch)?;
        let (model, vs) = build_model(&parts.config, parts.device)?;
        let mut learner = Learner::new(model, vs, &parts.config.train)?;
        checkpoint.load(&learner.vs, &learner.adam)?;
        let progress = checkpoint.progress;
        learner.set_skipped((progress.skipped, progress.skipped_in_row));
        let (step, epoch) = (progress.step, progress.epoch);
        let line = format!("resuming at step {step}, epoch {epoch}");
        parts.watch.line(&line);
        parts.into_trainer(dir, learner, progress)
    }
}

/// What a run needs besides its model.
struct Parts {
    config: RunConfig,
    device: Device,
    train: Dataset,
    feed: Feed,
    val: Dataset,
    watch: Box<dyn Watch>,
}

impl Parts {
    fn prepare(mut config: RunConfig, mut watch: Box<dyn Watch>) -> Result<Self> {
        config.validate()?;
        let picked = config.train.device.parse::<DeviceChoice>()?.pick()?;
        let splits = data::load(&config.data, config.seed)?;
        let (train, mut val) = (splits.train, splits.val);
        config.data.fingerprint = splits.fingerprint;
        if let Some(limit) = config.train.val_limit {
            val = val.subset(0..limit);
        }
        let image = config.model.image();
        if train.chw != image {
            return Err(Error::config(format!(
                "the model is for images of {image:?}, {} has {:?}: change `model.image` or the data",
                train.name, train.chw
            )));
        }
        watch.line(&format!(
            "{} on {}, {} training and {} validation images, seed {}, device {}",
            config.model.name(),
            config.data.name,
            train.len(),
            val.len(),
            config.seed,
            picked.text
        ));
        splits.remarks.iter().for_each(|remark| watch.line(remark));
        let precision = config.precision;
        match precision.remark(picked.device) {
            Some(remark) => watch.line(&format!("precision {precision}: {remark}")),
            None if precision == Precision::Float32 => {}
            None => watch.line(&format!("the nets compute in {precision}")),
        }
        Ok(Self {
            feed: Feed::new(&config, &train, picked.device)?,
            config,
            device: picked.device,
            train,
            val,
            watch,
        })
    }

    /// Data-dependent initialisation from the first batch of the run, as its first step will see it.
    fn initialize(&self, model: &mut MultiScale) -> Result<()> {
        let epoch = order(&self.config, &self.train, 1)?;
        if epoch.is_empty() {
            return Err(Error::config(format!("{} has no images", self.train.name)));
        }
        let (x, noise) = self.feed.epoch(epoch, 0)?.get(&self.train, 0)?;
        let cx = Cx {
            noise: Some(&noise),
            ..Cx::default()
        };
        tch::no_grad(|| model.initialize(&x, cx))
    }

    /// Writes `config.json` and puts everything together.
    fn into_trainer(self, dir: RunDir, learner: Learner, progress: Progress) -> Result<Trainer> {
        files::write(dir.config(), self.config.to_json()?)?;
        let steps_per_epoch = order(&self.config, &self.train, 1)?.len() as u64;
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
            sums: Sums::default(),
            unread: None,
            shown: Figures::default(),
            clock: Clock::starting_at(progress.seconds),
            config: self.config,
            dir,
            device: self.device,
            train: self.train,
            feed: self.feed,
            val: self.val,
            watch: self.watch,
            learner,
            schedule,
            progress,
        })
    }
}
