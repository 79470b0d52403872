//! The loop over epochs and batches: when to measure, to save and to stop.

use super::ahead::Ahead;
use super::clock::Clock;
use super::feed::{order, Feed};
use super::learner::diverged;
use super::lock::Lock;
use super::metrics::Sums;
use super::records::Records;
use super::{
    save, stop, Figures, Given, Learner, Own, Progress, RunConfig, RunDir, Schedule, Team, Watch,
    Wishes,
};
use crate::data::Dataset;
use crate::distributions::bits_per_dim;
use crate::phase::{self, Phase};
use crate::Result;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tch::{Device, Tensor};

/// How a session of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs, or the limit of steps or minutes.
    Finished,
    /// A signal: the run can be resumed.
    Interrupted,
}

/// A run in progress.
#[derive(Debug)]
pub struct Trainer {
    pub(super) team: Team,
    pub(super) config: RunConfig,
    pub(super) dir: RunDir,
    pub(super) device: Device,
    pub(super) train: Arc<Dataset>,
    pub(super) feed: Feed,
    pub(super) val: Dataset,
    pub(super) watch: Box<dyn Watch>,
    pub(super) learner: Learner,
    pub(super) schedule: Schedule,
    /// Rank 0 has it.
    pub(super) records: Option<Records>,
    pub(super) progress: Progress,
    pub(super) sums: Sums,
    /// Steps that were queued since the last reading.
    pub(super) unread: Option<Unread>,
    /// What was read last.
    pub(super) shown: Figures,
    pub(super) clock: Clock,
    /// What several processes have agreed on in the step that was read last; nothing after a step that was not read.
    pub(super) agreed: Wishes,
    /// While a signal is looked for between steps.
    pub(super) listening: Option<stop::Listening>,
    /// Rank 0 has it.
    pub(super) _lock: Option<Lock>,
}

/// Steps whose measurements are still to be read.
#[derive(Debug)]
pub(super) struct Unread {
    images: u64,
    since: Instant,
    /// Sum of what the processes wanted in these steps, if there are several.
    wishes: Option<Tensor>,
}

impl Unread {
    fn now() -> Self {
        Self {
            images: 0,
            since: Instant::now(),
            wishes: None,
        }
    }
}

impl Trainer {
    /// Trains until the run is complete or a signal asks to stop; in both cases everything is saved.
    ///
    /// # Errors
    /// [`Error::Diverged`](crate::Error::Diverged), a file that cannot be written, or what the model reports.
    pub fn run(&mut self) -> Result<Outcome> {
        self.listening = Some(stop::listen());
        let outcome = self.run_to_its_end();
        self.listening = None;
        outcome
    }

    fn run_to_its_end(&mut self) -> Result<Outcome> {
        self.warn_of_steps_without_a_rate();
        self.watch.start(self.progress.step, self.total_steps());
        self.agree()?;
        let past = self.progress.epoch > self.config.train.epochs;
        if past || self.at_limit() {
            let measured = past || self.progress.step == 0 || self.is_measured()?;
            if !measured {
                // a signal came in its last step: what the limit ends with is still to be done
                let batches = order(&self.config, &self.train, self.progress.epoch)?.len();
                if self.end_epoch(batches as u64)? == Outcome::Interrupted {
                    return self.interrupted();
                }
            }
            self.watch.finish();
            if measured {
                self.watch.line(
                    "the run is already complete: raise --epochs, --max-steps, --max-minutes or --patience to continue",
                );
            }
            return Ok(Outcome::Finished);
        }
        while self.progress.epoch <= self.config.train.epochs {
            if self.run_epoch()? == Outcome::Interrupted {
                return self.interrupted();
            }
            if self.at_limit() {
                break;
            }
        }
        self.watch.finish();
        self.say_why_it_ends();
        Ok(Outcome::Finished)
    }

    /// Saves and says how to go on.
    fn interrupted(&mut self) -> Result<Outcome> {
        self.save_last()?;
        self.watch.finish();
        let root = self.dir.root().display();
        let under = match self.team.is_alone() {
            true => "",
            false => ", under torchrun with any number of processes",
        };
        self.watch.line(&format!(
            "stopped and saved at step {}; continue with `inverse-flow train --resume {root}`{under}",
            self.progress.step,
        ));
        Ok(Outcome::Interrupted)
    }

    /// Place in the run, with the counters that others keep.
    pub fn progress(&self) -> Progress {
        let (skipped, skipped_in_row) = self.learner.skipped();
        Progress {
            skipped,
            skipped_in_row,
            seconds: self.clock.seconds(),
            ..self.progress
        }
    }

    /// What is to be done after this step: what this process wants, or what several have agreed on.
    pub(super) fn wishes(&self) -> Wishes {
        match self.team.is_alone() {
            true => self.own_wishes(),
            false => self.agreed,
        }
    }

    fn own_wishes(&self) -> Wishes {
        let t = &self.config.train;
        let seconds = self.clock.seconds();
        Wishes {
            stop: stop::requested(),
            time_is_up: t.max_minutes.is_some_and(|limit| seconds >= limit * 60.0),
            save: self.clock.minutes_unsaved() >= t.checkpoint_minutes,
        }
    }

    /// Lets several processes agree where no step does it: before the first one, and after a validation.
    pub(super) fn agree(&mut self) -> Result<()> {
        if !self.team.is_alone() {
            let flags = self.team.any(self.own_wishes().flags())?;
            self.agreed = Wishes::from_flags(flags);
        }
        Ok(())
    }

    /// The rest of the epoch in progress. One that a limit cuts short is measured all the same, so that the run
    /// ends with a validation and samples.
    fn run_epoch(&mut self) -> Result<Outcome> {
        let order = order(&self.config, &self.train, self.progress.epoch)?;
        let first_step = self.progress.step.saturating_sub(self.progress.batch);
        let epoch = self.feed.epoch(order, first_step)?;
        let batches = epoch.len();
        // a signal that came in a step after which a validation is due has left it to be done
        if (1..batches).contains(&self.progress.batch)
            && self.validation_is_due()
            && !self.is_measured()?
            && self.measure()? == Outcome::Interrupted
        {
            return Ok(Outcome::Interrupted);
        }
        let mut epoch = epoch.ahead(&self.train, self.progress.batch)?;
        while self.progress.batch < batches && !self.at_limit() {
            self.run_step(&mut epoch)?;
            if self.log_is_due() {
                self.log(&mut epoch)?;
            }
            if self.wishes().stop {
                self.log(&mut epoch)?;
                return Ok(Outcome::Interrupted);
            }
            // what comes after the last step is the end of the epoch, or of the run
            if self.at_limit() || self.progress.batch == batches {
                break;
            }
            if self.validation_is_due() {
                self.log(&mut epoch)?;
                if self.measure()? == Outcome::Interrupted {
                    return Ok(Outcome::Interrupted);
                }
            } else if self.wishes().save {
                self.log(&mut epoch)?;
                self.save_last()?;
            }
        }
        self.log(&mut epoch)?;
        self.end_epoch(batches)
    }

    /// Whether a validation comes after this step, if validations are counted in steps.
    fn validation_is_due(&self) -> bool {
        let every = self.config.train.val_every_steps;
        every.is_some_and(|every| self.progress.step.is_multiple_of(every))
    }

    /// What comes after the last step of an epoch of `batches` batches, or after the step at which a limit cuts it
    /// short: measuring if it is time to, and a checkpoint.
    fn end_epoch(&mut self, batches: u64) -> Result<Outcome> {
        let complete = self.progress.batch >= batches;
        let (epoch, t) = (self.progress.epoch, &self.config.train);
        let due = match t.val_every_steps {
            Some(_) => self.validation_is_due(),
            None => epoch.is_multiple_of(t.eval_every),
        };
        // the end of the run is measured in any case, but no step twice: a validation inside an epoch may have reached
        // the run's goal
        if (due || epoch == t.epochs || self.at_limit())
            && !self.is_measured()?
            && self.measure()? == Outcome::Interrupted
        {
            return Ok(Outcome::Interrupted);
        }
        if complete {
            self.progress.epoch += 1;
            self.progress.batch = 0;
        }
        self.save_last()?;
        Ok(Outcome::Finished)
    }

    fn run_step(&mut self, epoch: &mut Ahead) -> Result<()> {
        phase::enter(Phase::Step);
        let own_wishes = self.own_wishes();
        let lr = self.schedule.lr(self.at(0));
        let unread = self.unread.get_or_insert_with(Unread::now);
        let (x, noise) = epoch.take()?;
        let (images, part) = epoch.batches().images(self.progress.batch)?;
        unread.images += images.len() as u64;
        let labels = epoch.batches().labels(&self.train, self.progress.batch)?;
        let condition = self.learner.model.condition(&labels)?;
        let given = Given {
            noise: &noise,
            condition: condition.as_ref(),
        };
        if self.team.is_alone() {
            self.learner.queue(&x, given, lr)?;
        } else {
            let own = Own {
                x: &x,
                given,
                share: part.len() as f64 / images.len() as f64,
                wishes: own_wishes,
            };
            let wishes = self.learner.queue_whole(&self.team, own, lr)?;
            unread.wishes = Some(match unread.wishes.take() {
                Some(before) => before.f_add(&wishes)?,
                None => wishes,
            });
            self.agreed = Wishes::default();
        }
        self.progress.step += 1;
        self.progress.batch += 1;
        // a reading waits for a GPU, and costs nothing on the CPU
        if !self.device.is_cuda() || self.log_is_due() {
            self.read(epoch)?;
        }
        self.watch.step(Figures {
            epoch: self.progress.epoch,
            step: self.progress.step,
            lr,
            ..self.shown
        });
        Ok(())
    }

    /// Reads what the steps since the last reading have measured, if there are any.
    fn read(&mut self, epoch: &mut Ahead) -> Result<()> {
        let Some(unread) = self.unread.take() else {
            return Ok(());
        };
        let totals = self.learner.read()?.unwrap_or_default();
        if let Some(stopped_at) = totals.stopped_at {
            let batch = self.progress.batch - 1 - (totals.steps - stopped_at);
            return Err(diverged(self.first_bad(epoch, batch)?));
        }
        if let Some(wishes) = unread.wishes {
            self.agreed = Wishes::read(&wishes)?;
        }
        // from the first of the steps to the reading: only here is a GPU known to have done them
        let seconds = unread.since.elapsed().as_secs_f64();
        let waited = epoch.take_waited().as_secs_f64();
        self.sums.add(&totals, unread.images, seconds, waited);
        let nll = (totals.taken > 0).then(|| totals.nll / totals.taken as f64);
        self.shown.bpd = nll.map(|nll| self.bits_per_dim(nll));
        self.shown.images_per_s = self.sums.images_per_s().unwrap_or(0.0);
        Ok(())
    }

    /// Where the first number of a batch that is not finite comes from, whichever process has it.
    fn first_bad(&self, epoch: &Ahead, batch: u64) -> Result<Option<String>> {
        let (x, noise) = epoch.batches().get(&self.train, batch)?;
        let labels = epoch.batches().labels(&self.train, batch)?;
        let condition = self.learner.model.condition(&labels)?;
        let given = Given {
            noise: &noise,
            condition: condition.as_ref(),
        };
        let found = match x.size()[0] {
            0 => None,
            _ => self.learner.first_bad(&x, given)?,
        };
        let found = self.team.texts(&found.unwrap_or_default())?;
        Ok(found.into_iter().find(|place| !place.is_empty()))
    }

    fn log_is_due(&self) -> bool {
        self.progress
            .step
            .is_multiple_of(self.config.train.log_every)
    }

    /// Nats of an image in bits per dimension.
    pub(super) fn bits_per_dim(&self, nll_nats: f64) -> f64 {
        bits_per_dim(nll_nats, self.train.chw.iter().product())
    }

    /// Reads, and writes the means since the last line, if any step was done.
    fn log(&mut self, epoch: &mut Ahead) -> Result<()> {
        self.read(epoch)?;
        if self.sums.is_empty() {
            return Ok(());
        }
        let record = self.train_record();
        self.sums = Sums::default();
        self.write(&record)
    }

    /// Writes a checkpoint of this moment to `path`.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        if !self.team.is_main() {
            return Ok(());
        }
        phase::enter(Phase::Checkpoint);
        save(path, &self.learner, &self.config, &self.progress())
    }

    pub(super) fn save_last(&mut self) -> Result<()> {
        self.clock.saved();
        self.save(&self.dir.last())?;
        match self.config.train.keep {
            Some(most) if self.team.is_main() => self.dir.keep(self.progress.step, most),
            _ => Ok(()),
        }
    }
}
