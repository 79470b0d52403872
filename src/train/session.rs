//! Puts a run together: a new one from its configuration, or one that goes on from a checkpoint.

use super::changes::changes;
use super::checkpoint::optimizer_state;
use super::classes::{check_classes, classes_of};
use super::clock::Clock;
use super::feed::{order, Feed};
use super::fingerprint::same_everywhere;
use super::horizon::{place, total_steps};
use super::lock::Lock;
use super::metrics::{self, Metrics, Record, Sums};
use super::{
    build_model, Change, Checkpoint, Figures, Learner, Progress, RunConfig, RunDir, Schedule,
    Silent, Team, Trainer, Warmup, Watch, Wishes,
};
use crate::data::{self, Dataset, Split};
use crate::flows::{Bits, Cx};
use crate::models::{Classes, MultiScale};
use crate::nn::Precision;
use crate::words::counted;
use crate::{files, Error, Result};
use std::path::Path;
use std::sync::Arc;
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
        Self::new_in(Team::alone(), config, root, overwrite, watch)
    }

    /// [`new`](Self::new) for several processes, all of which call it. Configuration and folder are those of rank 0, and
    /// so are the parameters, which the whole first batch initialises.
    ///
    /// # Errors
    /// As [`new`](Self::new), fewer images a step than processes, or the end of another process.
    pub fn new_in(
        team: Team,
        config: RunConfig,
        root: &Path,
        overwrite: bool,
        watch: Box<dyn Watch>,
    ) -> Result<Self> {
        let config = team.from_main(|| {
            RunDir::check_free(root, overwrite)?;
            Ok(config)
        })?;
        let parts = Parts::prepare(team, config, false, watch)?;
        let (mut model, vs) = build_model(&parts.config, parts.device)?;
        if parts.team.is_main() {
            parts.initialize(&mut model)?;
        }
        let learner = Learner::new(model, vs, &parts.config.train)?;
        let (dir, lock) = match parts.team.is_main() {
            true => {
                std::fs::create_dir_all(root).map_err(|err| Error::file(root, err))?;
                let lock = Lock::take(root)?;
                (RunDir::create(root, overwrite)?, Some(lock))
            }
            false => (RunDir::elsewhere(root), None),
        };
        let trainer = parts.into_trainer(dir, lock, learner, Progress::default())?;
        // from here on an interrupted run can be resumed, whenever it is interrupted
        trainer.save(&trainer.dir.last())?;
        Ok(trainer)
    }

    /// The run of `dir` from its last checkpoint on, with the settings of its `config.json`, which somebody may have edited,
    /// and those of `change`. What differs from the settings of the checkpoint is recorded in the configuration
    /// ([`RunConfig::changes`]) and in the metrics. A cosine decay that would end before a run that has become longer is
    /// stretched to its end.
    ///
    /// # Errors
    /// As [`new`](Self::new), a setting that is fixed once a run has begun, or a checkpoint that is missing, damaged or of
    /// another model.
    pub fn resume(
        dir: RunDir,
        watch: Box<dyn Watch>,
        change: impl FnOnce(&mut RunConfig) -> Result<()>,
    ) -> Result<Self> {
        Self::resume_in(Team::alone(), dir, watch, change)
    }

    /// [`resume`](Self::resume) for several processes, as many as there are now: rank 0 reads the checkpoint of its `dir`
    /// and sends it to the others.
    ///
    /// # Errors
    /// As [`resume`](Self::resume) and [`new_in`](Self::new_in).
    pub fn resume_in(
        team: Team,
        dir: RunDir,
        watch: Box<dyn Watch>,
        change: impl FnOnce(&mut RunConfig) -> Result<()>,
    ) -> Result<Self> {
        let (mut lock, mut checkpoint) = (None, None);
        let (config, progress, batch_size, best_bpd) = team.from_main(|| {
            if !dir.last().exists() {
                let problem = "has no checkpoint to resume from: start it again with --overwrite";
                return Err(Error::file(dir.root(), problem));
            }
            lock = Some(Lock::take(dir.root())?);
            let opened = checkpoint.insert(Checkpoint::open(&dir.last())?);
            let mut config = stored(&dir, opened)?;
            change(&mut config)?;
            let data = &mut config.data;
            data.fingerprint = data
                .fingerprint
                .take()
                .or(opened.config.data.fingerprint.clone());
            // which classes there are is found in the data, not set
            if let (Some(found), Some(now)) =
                (opened.config.model.classes(), config.model.classes_mut())
            {
                let planes = now.planes;
                *now = Classes {
                    planes,
                    ..found.clone()
                };
            }
            let changes = changes(&opened.config, &config, opened.progress.step)?;
            config.changes = [opened.config.changes.clone(), changes].concat();
            let best_bpd = metrics::best_bpd(&dir.metrics(), opened.progress.step)?;
            Ok((
                config,
                opened.progress,
                opened.config.train.batch_size,
                best_bpd,
            ))
        })?;
        let mut parts = Parts::prepare(team, config, true, watch)?;
        let progress = progress.with_batches_of(parts.config.train.batch_size, batch_size);
        let (model, vs) = build_model(&parts.config, parts.device)?;
        let mut learner = Learner::new(model, vs, &parts.config.train)?;
        if let Some(checkpoint) = checkpoint {
            let report = checkpoint.load(&learner.vs, &learner.adam)?;
            let remarks = report.remarks.iter();
            remarks.for_each(|remark| parts.watch.line(remark));
        }
        learner.set_skipped((progress.skipped, progress.skipped_in_row));
        let progress = progress.with_best_of(best_bpd);
        let (step, epoch) = (progress.step, progress.epoch);
        let line = format!("resuming at step {step}, epoch {epoch}");
        parts.watch.line(&line);
        parts.stretch_decay(&progress)?;
        let mut trainer = parts.into_trainer(dir, lock, learner, progress)?;
        trainer.record_changes()?;
        Ok(trainer)
    }

    /// Says and writes down what was changed at this step.
    fn record_changes(&mut self) -> Result<()> {
        let changes = changes_at(&self.config, self.progress.step);
        if changes.is_empty() {
            return Ok(());
        }
        for change in &changes {
            self.watch.line(&change.to_string());
        }
        let record = Record {
            changes,
            ..self.record(Split::Train)
        };
        self.write(&record)
    }
}

/// The settings in the folder of a run; those of its checkpoint, if they are not there.
fn stored(dir: &RunDir, checkpoint: &Checkpoint) -> Result<RunConfig> {
    let path = dir.config();
    if !path.exists() {
        return Ok(checkpoint.config.clone());
    }
    let text = std::fs::read_to_string(&path).map_err(|err| Error::file(&path, err))?;
    RunConfig::from_json(&text).map_err(|err| {
        let problem = format!("{err}; mend it, or remove it: the last checkpoint has its own");
        Error::file(&path, problem)
    })
}

/// What was changed after so many steps.
fn changes_at(config: &RunConfig, step: u64) -> Vec<Change> {
    let changes = config.changes.iter().filter(|change| change.step == step);
    changes.cloned().collect()
}

/// What a run needs besides its model.
struct Parts {
    team: Team,
    config: RunConfig,
    device: Device,
    train: Dataset,
    feed: Feed,
    val: Dataset,
    watch: Box<dyn Watch>,
}

impl Parts {
    fn prepare(
        team: Team,
        mut config: RunConfig,
        begun: bool,
        watch: Box<dyn Watch>,
    ) -> Result<Self> {
        config.validate()?;
        let (batch, ranks) = (config.train.batch_size, team.ranks());
        if batch < ranks {
            return Err(Error::config(format!(
                "`train.batch_size` is that of all processes together: {} are too few for {ranks} of them",
                counted(batch, "image")
            )));
        }
        let mut watch = match team.is_main() {
            true => watch,
            false => Box::new(Silent),
        };
        if let Some(threads) = config.train.threads {
            tch::set_num_threads(threads);
        }
        let picked = team.pick(config.train.device.parse()?)?;
        let splits = data::load(&config.data, config.seed)?;
        let (train, mut val) = (splits.train, splits.val);
        config.data.fingerprint = splits.fingerprint;
        if let Some(limit) = config.train.val_limit {
            val = val.subset(0..limit);
        }
        same_everywhere(&team, &[&train, &val])?;
        if let Some(classes) = config.model.classes_mut() {
            match begun {
                true => check_classes(classes, &train)?,
                false => *classes = classes_of(&train, &[&val, &splits.test], classes.planes)?,
            }
        }
        let image = config.model.image();
        if train.chw != image {
            return Err(Error::config(format!(
                "the model is for images of {image:?}, {} has {:?}: change `model.image` or the data",
                train.name, train.chw
            )));
        }
        watch.line(&format!(
            "{} on {}, {} training and {} validation images, seed {}, device {}{}",
            config.model.name(),
            config.data.name,
            train.len(),
            val.len(),
            config.seed,
            picked.text,
            match team.is_alone() {
                true => String::new(),
                false => format!(", {ranks} processes"),
            }
        ));
        splits.remarks.iter().for_each(|remark| watch.line(remark));
        if config.bits != Bits::ALL {
            let levels = 256.0 / config.bits.step();
            watch.line(&format!(
                "a density of {} of every pixel, {levels} grey levels",
                counted(u8::from(config.bits), "bit")
            ));
        }
        let precision = config.precision;
        match precision.remark(picked.device) {
            Some(remark) => watch.line(&format!("precision {precision}: {remark}")),
            None if precision == Precision::Float32 => {}
            None => watch.line(&format!("the nets compute in {precision}")),
        }
        Ok(Self {
            feed: Feed::new(&config, &train, picked.device)?,
            team,
            config,
            device: picked.device,
            train,
            val,
            watch,
        })
    }

    /// Lets a cosine decay end with a run that is to become longer from here on, unless somebody has set it.
    fn stretch_decay(&mut self, progress: &Progress) -> Result<()> {
        let changed = changes_at(&self.config, progress.step);
        let is_changed = |key: &str| changed.iter().any(|change| change.key == key);
        let limits = ["train.epochs", "train.max_steps"];
        if is_changed("train.decay") || !limits.into_iter().any(is_changed) {
            return Ok(());
        }
        let schedule = self.schedule()?;
        let steps = total_steps(&self.config, &schedule, progress);
        let left = steps.saturating_sub(progress.step);
        let in_epochs = place(&schedule, progress).in_epochs.saturating_add(left);
        let epochs = in_epochs.div_ceil(schedule.steps_per_epoch.max(1));
        let t = &mut self.config.train;
        if let Some(longer) = t.decay.stretched(steps, epochs) {
            let before = self.config.clone();
            self.config.train.decay = longer;
            let stretched = changes(&before, &self.config, progress.step)?;
            self.config.changes.extend(stretched);
        }
        Ok(())
    }

    fn schedule(&self) -> Result<Schedule> {
        let t = &self.config.train;
        Ok(Schedule {
            base: t.lr,
            warmup: t
                .warmup_steps
                .map_or(Warmup::Epochs(t.warmup_epochs), Warmup::Steps),
            steps_per_epoch: order(&self.config, &self.train, 1)?.len() as u64,
            decay: t.decay.clone(),
        })
    }

    /// Data-dependent initialisation from the first batch of the run, as its first step will see it.
    fn initialize(&self, model: &mut MultiScale) -> Result<()> {
        let epoch = order(&self.config, &self.train, 1)?;
        if epoch.is_empty() {
            return Err(Error::config(format!("{} has no images", self.train.name)));
        }
        let batches = self.feed.epoch(epoch, 0)?;
        let (x, noise) = batches.get(&self.train, 0)?;
        let condition = model.condition(&batches.labels(&self.train, 0)?)?;
        let cx = Cx {
            noise: Some(&noise),
            condition: condition.as_ref(),
            ..Cx::default()
        };
        tch::no_grad(|| model.initialize(&x, cx))
    }

    /// Gives all processes the model and the optimiser of rank 0, writes `config.json` and puts everything together.
    fn into_trainer(
        self,
        dir: RunDir,
        lock: Option<Lock>,
        learner: Learner,
        progress: Progress,
    ) -> Result<Trainer> {
        let variables = learner.vs.variables().into_iter();
        self.team
            .share(variables.chain(optimizer_state(&learner.adam)))?;
        let metrics = match self.team.is_main() {
            true => {
                files::write(dir.config(), self.config.to_json()?)?;
                Some(Metrics::open(&dir.metrics(), progress.step)?)
            }
            false => None,
        };
        let schedule = self.schedule()?;
        Ok(Trainer {
            metrics,
            agreed: Wishes::default(),
            listening: None,
            _lock: lock,
            sums: Sums::default(),
            unread: None,
            shown: Figures::default(),
            clock: Clock::starting_at(progress.seconds),
            config: self.config,
            dir,
            device: self.device,
            train: Arc::new(self.train),
            feed: self.feed.of_part(self.team.part()),
            team: self.team,
            val: self.val,
            watch: self.watch,
            learner,
            schedule,
            progress,
        })
    }
}
