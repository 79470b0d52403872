//! Puts a run together: a new one from its configuration, or one that goes on from a checkpoint.

use super::changes::changes;
use super::lock::Lock;
use super::metrics::{self, Record};
use super::parts::{changes_at, Parts};
use super::{build_model, Checkpoint, Learner, Progress, RunConfig, RunDir, Team, Trainer, Watch};
use crate::data::Split;
use crate::models::Classes;
use crate::{Error, Result};
use std::path::Path;

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
        let mut parts = Parts::prepare(team, config, false, watch)?;
        let (mut model, vs) = build_model(&parts.config, parts.device)?;
        if parts.team.is_main() {
            parts.begin_from_file(&model, &vs)?;
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
            let report = checkpoint.load(&mut learner)?;
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
