//! The loop over epochs and batches: when to measure, to save and to stop.

use super::clock::Clock;
use super::feed::{order, Batches, Feed};
use super::metrics::{self, Metrics, Record, Sums};
use super::{
    sample, save, stop, Dequantization, Evaluation, Figures, Learner, Likelihood, Moment, Progress,
    RunConfig, RunDir, Schedule, Watch,
};
use crate::data::{Dataset, Split};
use crate::distributions::bits_per_dim;
use crate::models::MultiScale;
use crate::{Error, Result};
use std::path::Path;
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
    pub(super) config: RunConfig,
    pub(super) dir: RunDir,
    pub(super) device: Device,
    pub(super) train: Dataset,
    pub(super) feed: Feed,
    pub(super) val: Dataset,
    pub(super) watch: Box<dyn Watch>,
    pub(super) learner: Learner,
    pub(super) schedule: Schedule,
    pub(super) metrics: Metrics,
    pub(super) progress: Progress,
    pub(super) sums: Sums,
    /// Steps that were queued since the last reading.
    pub(super) unread: Option<Unread>,
    /// What was read last.
    pub(super) shown: Figures,
    pub(super) clock: Clock,
}

/// Steps whose measurements are still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unread {
    images: u64,
    since: Instant,
}

impl Unread {
    fn now() -> Self {
        Self {
            images: 0,
            since: Instant::now(),
        }
    }
}

impl Trainer {
    /// Trains until the run is complete or a signal asks to stop; in both cases everything is saved.
    ///
    /// # Errors
    /// [`Error::Diverged`](crate::Error::Diverged), a file that cannot be written, or what the model reports.
    pub fn run(&mut self) -> Result<Outcome> {
        self.watch.start(self.progress.step, self.total_steps());
        let past = self.progress.epoch > self.config.train.epochs;
        if past || self.at_limit() {
            let measured = past || self.progress.step == 0 || self.is_measured()?;
            if !measured {
                // a signal came in its last step: what the limit ends with is still to be done
                let batches = order(&self.config, &self.train, self.progress.epoch)?.len();
                self.end_epoch(batches as u64)?;
            }
            self.watch.finish();
            if measured {
                self.watch.line(
                    "the run is already complete: raise --epochs, --max-steps or --max-minutes to continue",
                );
            }
            return Ok(Outcome::Finished);
        }
        while self.progress.epoch <= self.config.train.epochs {
            if self.run_epoch()? == Outcome::Interrupted {
                self.save(&self.dir.last())?;
                self.watch.finish();
                let root = self.dir.root().display();
                self.watch.line(&format!(
                    "stopped and saved at step {}; continue with `inverse-flow train --resume {root}`",
                    self.progress.step
                ));
                return Ok(Outcome::Interrupted);
            }
            if self.at_limit() {
                break;
            }
        }
        self.watch.finish();
        Ok(Outcome::Finished)
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

    fn total_steps(&self) -> u64 {
        let t = &self.config.train;
        let all = t.epochs.saturating_mul(self.schedule.steps_per_epoch);
        t.max_steps.map_or(all, |limit| limit.min(all))
    }

    fn at_limit(&self) -> bool {
        let t = &self.config.train;
        t.max_steps.is_some_and(|limit| self.progress.step >= limit)
            || t.max_minutes
                .is_some_and(|limit| self.clock.seconds() >= limit * 60.0)
            || self.at_target()
    }

    fn at_target(&self) -> bool {
        let reached = self.config.train.target_bpd.zip(self.progress.best_bpd);
        reached.is_some_and(|(target, best)| best <= target)
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
        {
            self.measure()?;
            self.save_last()?;
        }
        while self.progress.batch < batches && !self.at_limit() {
            self.run_step(&epoch)?;
            if self.log_is_due() {
                self.log(&epoch)?;
            }
            if stop::requested() {
                self.log(&epoch)?;
                return Ok(Outcome::Interrupted);
            }
            // what comes after the last step is the end of the epoch, or of the run
            if self.at_limit() || self.progress.batch == batches {
                break;
            }
            let unsaved = self.clock.minutes_unsaved();
            if self.validation_is_due() {
                self.log(&epoch)?;
                self.measure()?;
                self.save_last()?;
            } else if unsaved >= self.config.train.checkpoint_minutes {
                self.log(&epoch)?;
                self.save_last()?;
            }
        }
        self.log(&epoch)?;
        self.end_epoch(batches)?;
        Ok(Outcome::Finished)
    }

    /// Whether a validation comes after this step, if validations are counted in steps.
    fn validation_is_due(&self) -> bool {
        let every = self.config.train.val_every_steps;
        every.is_some_and(|every| self.progress.step.is_multiple_of(every))
    }

    /// Whether the model of this step has been validated.
    fn is_measured(&self) -> Result<bool> {
        let records = metrics::read(&self.dir.metrics())?;
        let this =
            |record: &Record| record.split == Split::Val && record.step == self.progress.step;
        Ok(records.iter().any(this))
    }

    /// What comes after the last step of an epoch of `batches` batches, or after the step at which a limit cuts it
    /// short: measuring if it is time to, and a checkpoint.
    fn end_epoch(&mut self, batches: u64) -> Result<()> {
        let complete = self.progress.batch >= batches;
        let (epoch, t) = (self.progress.epoch, &self.config.train);
        let due = match t.val_every_steps {
            Some(_) => self.validation_is_due(),
            None => epoch.is_multiple_of(t.eval_every),
        };
        // the end of the run is measured in any case, but no step twice: a validation inside an epoch may have reached
        // the run's goal
        if (due || epoch == t.epochs || self.at_limit()) && !self.is_measured()? {
            self.measure()?;
        }
        if complete {
            self.progress.epoch += 1;
            self.progress.batch = 0;
        }
        self.save_last()
    }

    fn run_step(&mut self, epoch: &Batches) -> Result<()> {
        let unread = self.unread.get_or_insert_with(Unread::now);
        let (x, noise) = epoch.get(&self.train, self.progress.batch)?;
        unread.images += x.size()[0] as u64;
        let lr = self.schedule.lr(self.progress.step);
        self.learner.queue(&x, &noise, lr)?;
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
    fn read(&mut self, epoch: &Batches) -> Result<()> {
        let Some(unread) = self.unread.take() else {
            return Ok(());
        };
        let totals = self.learner.read()?.unwrap_or_default();
        if let Some(stopped_at) = totals.stopped_at {
            let batch = self.progress.batch - 1 - (totals.steps - stopped_at);
            let (x, noise) = epoch.get(&self.train, batch)?;
            return Err(self.learner.diverged(&x, &noise)?);
        }
        // from the first of the steps to the reading: only here is a GPU known to have done them
        let seconds = unread.since.elapsed().as_secs_f64();
        self.sums.add(&totals, unread.images, seconds);
        let nll = (totals.taken > 0).then(|| totals.nll / totals.taken as f64);
        self.shown.bpd = nll.map(|nll| self.bits_per_dim(nll));
        self.shown.images_per_s = self.sums.images_per_s().unwrap_or(0.0);
        Ok(())
    }

    fn log_is_due(&self) -> bool {
        self.progress
            .step
            .is_multiple_of(self.config.train.log_every)
    }

    /// Nats of an image in bits per dimension.
    fn bits_per_dim(&self, nll_nats: f64) -> f64 {
        bits_per_dim(nll_nats, self.train.chw.iter().product())
    }

    /// Reads, and writes the means since the last line, if any step was done.
    fn log(&mut self, epoch: &Batches) -> Result<()> {
        self.read(epoch)?;
        if self.sums.is_empty() {
            return Ok(());
        }
        let means = self.sums.means();
        let record = Record {
            nll_nats: means.map(|(nll, _)| nll),
            bpd: means.map(|(nll, _)| self.bits_per_dim(nll)),
            grad_norm: means.map(|(_, norm)| norm),
            images_per_s: self.sums.images_per_s(),
            ..self.record(Split::Train)
        };
        self.sums = Sums::default();
        self.metrics.write(&record)
    }

    /// A line of this moment without measurements.
    fn record(&self, split: Split) -> Record {
        let progress = self.progress();
        Record {
            step: progress.step,
            epoch: progress.epoch,
            split,
            nll_nats: None,
            bpd: None,
            lr: self.schedule.lr(progress.step.saturating_sub(1)),
            grad_norm: None,
            images_per_s: None,
            seconds: progress.seconds,
            skipped: progress.skipped,
        }
    }

    /// Validation, the best checkpoint, samples and curves.
    fn measure(&mut self) -> Result<()> {
        let started = Instant::now();
        let likelihood = self.validate()?;
        let rate = likelihood.images as f64 / started.elapsed().as_secs_f64();
        let finite = |value: f64| value.is_finite().then_some(value);
        let record = Record {
            nll_nats: finite(likelihood.nll_nats),
            bpd: finite(likelihood.bpd),
            images_per_s: Some(rate),
            ..self.record(Split::Val)
        };
        self.metrics.write(&record)?;
        let best = self.progress.best_bpd.unwrap_or(f64::INFINITY);
        let improved = likelihood.bpd < best;
        if improved {
            self.progress.best_bpd = Some(likelihood.bpd);
            self.save(&self.dir.best())?;
        }
        let moment = Moment {
            run: &self.dir,
            epoch: self.progress.epoch,
            draw: &|| draw(&self.config, &self.learner.model, self.device),
        };
        match self.watch.validated(&moment) {
            // a picture is no reason to end a run that trains in the other direction
            Err(err @ Error::NotConverged { .. }) => {
                self.watch.line(&format!("no samples this time: {err}"));
            }
            watched => watched?,
        }
        self.watch.line(&format!(
            "epoch {:>3}  step {}  validation {:.2} nats, {:.4} bits/dim{}  skipped {}  {:.0} s",
            record.epoch,
            record.step,
            likelihood.nll_nats,
            likelihood.bpd,
            if improved { " (best)" } else { "" },
            record.skipped,
            record.seconds
        ));
        Ok(())
    }

    fn validate(&self) -> Result<Likelihood> {
        let evaluation = Evaluation {
            batch_size: self.config.train.batch_size,
            dequantize: Dequantization::Uniform,
            seed: self.config.seed,
            device: self.device,
        };
        evaluation.likelihood(&self.learner.model, &self.val)
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

    fn save_last(&mut self) -> Result<()> {
        self.clock.saved();
        self.save(&self.dir.last())
    }
}

/// The images of the sample grid: the same latents every time.
fn draw(config: &RunConfig, model: &MultiScale, device: Device) -> Result<Option<Tensor>> {
    let t = &config.train;
    if t.samples == 0 {
        return Ok(None);
    }
    let images = sample(
        model,
        t.samples as i64,
        t.sample_temperature,
        config.seed,
        device,
        t.batch_size as i64,
    );
    images.map(Some)
}
