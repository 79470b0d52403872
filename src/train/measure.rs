//! Validation of a run, and what it leaves in the folder.

use super::metrics::{self, Record};
use super::{
    grid_columns, prior_latents_of, stop, Decoding, Dequantization, Drawn, Evaluation, Labels,
    Likelihood, Moment, Outcome, RunConfig, Team, Trainer,
};
use crate::data::Split;
use crate::models::MultiScale;
use crate::Result;
use std::time::Instant;
use tch::Device;

impl Trainer {
    /// A line of this moment without measurements.
    pub(super) fn record(&self, split: Split) -> Record {
        let progress = self.progress();
        let in_epoch = progress
            .batch
            .saturating_mul(self.config.train.batch_size as u64);
        let all = self.train.len() as u64;
        Record {
            step: progress.step,
            epoch: progress.epoch,
            images: Some((progress.epoch - 1) * all + in_epoch.min(all)),
            split,
            nll_nats: None,
            bpd: None,
            nll_nats_without_log_dets: None,
            bpd_without_log_dets: None,
            lr: self.schedule.lr(self.at(1)),
            grad_norm: None,
            images_per_s: None,
            data_wait: None,
            seconds: progress.seconds,
            skipped: progress.skipped,
            changes: Vec::new(),
            ranks: self.team.ranks(),
        }
    }

    /// A line with the means over the steps since the one before.
    pub(super) fn train_record(&self) -> Record {
        let sums = &self.sums;
        let record = Record {
            grad_norm: sums.means().map(|(_, norm)| norm),
            images_per_s: sums.images_per_s(),
            data_wait: sums.data_wait(),
            ..self.record(Split::Train)
        };
        match sums.means() {
            Some((nll, _)) => {
                record.with_nll(nll, self.bits_per_dim(nll), self.shown.without_log_dets)
            }
            None => record,
        }
    }

    /// Writes a line, in the process that keeps the files.
    pub(super) fn write(&mut self, record: &Record) -> Result<()> {
        let records = self.records.as_mut();
        records.map_or(Ok(()), |records| records.write(record))
    }

    /// Whether the model of this step has been validated.
    pub(super) fn is_measured(&self) -> Result<bool> {
        self.team.from_main(|| {
            let records = metrics::read(&self.dir.metrics())?;
            let this =
                |record: &Record| record.split == Split::Val && record.step == self.progress.step;
            Ok(records.iter().any(this))
        })
    }

    /// Validation, the best checkpoint, samples and curves. All of the run is saved before, so that a signal need not wait for
    /// the end of it; several processes agree to stop after it.
    pub(super) fn measure(&mut self) -> Result<Outcome> {
        self.save_last()?;
        if self.team.is_alone() {
            self.listening = None;
            if stop::requested() {
                return Ok(Outcome::Interrupted);
            }
        }
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
        let best = self.progress.best_bpd.unwrap_or(f64::INFINITY);
        let improved = likelihood.bpd < best;
        let enough = likelihood.bpd < best - self.config.train.min_delta;
        self.progress.without_improvement = match enough {
            true => 0,
            false => self.progress.without_improvement + 1,
        };
        if improved {
            self.progress.best_bpd = Some(likelihood.bpd);
            self.save(&self.dir.best())?;
        }
        // who finds the line finds the best checkpoint too
        self.write(&record)?;
        if self.team.is_main() {
            self.show(&record, likelihood, improved)?;
        }
        self.listening.get_or_insert_with(stop::listen);
        // the pictures took their time, in one process
        self.agree()?;
        self.save_last()?;
        Ok(Outcome::Finished)
    }

    /// The pictures of a validation, and a line about it.
    fn show(&mut self, record: &Record, likelihood: Likelihood, improved: bool) -> Result<()> {
        let moment = Moment {
            run: &self.dir,
            epoch: self.progress.epoch,
            columns: grid_columns(&self.learner.model, self.config.train.samples),
            draw: &|| {
                let learner = &self.learner;
                learner.with_averages(|model| draw(&self.config, model, self.device))
            },
        };
        // a picture is no reason to end a run
        match self.watch.validated(&moment) {
            Ok(Some(grid)) => {
                if let Some(records) = &mut self.records {
                    records.picture(record.step, &grid)?;
                }
            }
            Ok(None) => {}
            Err(err) => self.watch.line(&format!("no pictures this time: {err}")),
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
        self.learner
            .with_averages(|model| evaluation.likelihood_in(&self.team, model, &self.val))
    }
}

/// The images of the sample grid, from the same latents every time, as the model decodes them.
fn draw(config: &RunConfig, model: &MultiScale, device: Device) -> Result<Option<Drawn>> {
    let t = &config.train;
    if t.samples == 0 {
        return Ok(None);
    }
    let latents =
        |images| prior_latents_of(model, images, config.seed, device)?.scaled(t.sample_temperature);
    let decoding = Decoding {
        latents: &latents,
        count: t.samples as u64,
        batch: t.batch_size as u64,
        device,
        labels: Labels::Rows,
    };
    let images = decoding.all_in(&Team::alone(), model)?;
    let remark = decoding.lost_text(model, 0, &images)?;
    Ok(Some(Drawn { images, remark }))
}
