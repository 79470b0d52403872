//! What a run needs besides its model: images, schedule, first weights, and the trainer that all of it makes.

use super::changes::changes;
use super::checkpoint::state;
use super::classes::{check_classes, classes_of};
use super::clock::Clock;
use super::feed::{order, Feed};
use super::fingerprint::same_everywhere;
use super::finite::{non_finite_parameters, parameters_text};
use super::horizon::{place, total_steps};
use super::lock::Lock;
use super::metrics::Sums;
use super::records::Records;
use super::{
    Change, Figures, Learner, Progress, RunConfig, RunDir, Schedule, Silent, Team, Trainer, Warmup,
    Watch, Wishes,
};
use crate::data::{self, Dataset};
use crate::ffi::limits::use_threads;
use crate::flows::{Bits, Cx};
use crate::models::MultiScale;
use crate::nn::Precision;
use crate::words::counted;
use crate::{files, Error, Result};
use std::sync::Arc;
use tch::{nn::VarStore, Device};

/// What was changed after so many steps.
pub(super) fn changes_at(config: &RunConfig, step: u64) -> Vec<Change> {
    let changes = config.changes.iter().filter(|change| change.step == step);
    changes.cloned().collect()
}

/// What a run needs besides its model.
pub(super) struct Parts {
    pub(super) team: Team,
    pub(super) config: RunConfig,
    pub(super) device: Device,
    train: Dataset,
    feed: Feed,
    val: Dataset,
    pub(super) watch: Box<dyn Watch>,
}

impl Parts {
    pub(super) fn prepare(
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
            use_threads(Some(threads))?;
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
    pub(super) fn stretch_decay(&mut self, progress: &Progress) -> Result<()> {
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

    /// Fills a new model from the file that the configuration names, if it does.
    pub(super) fn begin_from_file(&mut self, model: &MultiScale, vs: &VarStore) -> Result<()> {
        let Some(initial) = &mut self.config.init_from else {
            return Ok(());
        };
        let report = initial.fill(model, vs)?;
        let lost = non_finite_parameters(vs)?;
        if !lost.is_empty() {
            let problem = format!(
                "{}: nothing can be learnt from there on",
                parameters_text(&lost)
            );
            return Err(Error::file(&initial.from, problem));
        }
        self.watch.line(&format!(
            "beginning with the weights of {}",
            initial.from.display()
        ));
        for remark in report.remarks {
            self.watch.line(&format!("weights: {remark}"));
        }
        Ok(())
    }

    /// Data-dependent initialisation of what is not from a file, from the first batch of the run, as its first step will see it.
    pub(super) fn initialize(&self, model: &mut MultiScale) -> Result<()> {
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
    pub(super) fn into_trainer(
        self,
        dir: RunDir,
        lock: Option<Lock>,
        learner: Learner,
        progress: Progress,
    ) -> Result<Trainer> {
        self.team.share(state(&learner))?;
        let records = match self.team.is_main() {
            true => {
                files::write(dir.config(), self.config.to_json()?)?;
                Some(Records::open(&dir, progress.step, &self.config)?)
            }
            false => None,
        };
        let schedule = self.schedule()?;
        Ok(Trainer {
            records,
            agreed: Wishes::default(),
            listening: None,
            _lock: lock,
            sums: Sums::default(),
            unread: None,
            shown: Figures {
                without_log_dets: learner.model.trains_without_log_dets(),
                ..Figures::default()
            },
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
