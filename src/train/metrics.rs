//! `metrics.jsonl`: what a run measured, one JSON object a line.

use super::totals::Totals;
use super::Change;
use crate::data::Split;
use crate::{files, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line. Values that are not known, or not finite, are `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Optimiser steps done.
    pub step: u64,
    /// The epoch they are in, counted from 1.
    pub epoch: u64,
    /// Training images that these steps have seen, each as often as it was seen. Lines of older versions do not say.
    #[serde(default)]
    pub images: Option<u64>,
    /// Images of which part: `train` lines are means over the steps since the one before.
    pub split: Split,
    /// Mean negative log-likelihood, nats per image. `train` lines of a model that
    /// [trains without log-dets](crate::models::MultiScale::trains_without_log_dets) have none.
    pub nll_nats: Option<f64>,
    /// The same in bits per dimension.
    pub bpd: Option<f64>,
    /// In place of `nll_nats` in `train` lines of such a model: what is left of it without these log-dets, no likelihood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nll_nats_without_log_dets: Option<f64>,
    /// The same in bits per dimension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bpd_without_log_dets: Option<f64>,
    /// Learning rate of the latest step.
    pub lr: f64,
    /// Mean norm of the gradient before clipping; `train` only.
    pub grad_norm: Option<f64>,
    /// Images handled per second.
    pub images_per_s: Option<f64>,
    /// Part of the time of these steps in which this process waited for their images, 0 to 1; `train` only.
    #[serde(default)]
    pub data_wait: Option<f64>,
    /// Time spent in the run, all sessions together.
    pub seconds: f64,
    /// Steps skipped in the run because loss or gradient were not finite.
    pub skipped: u64,
    /// What was changed when the run went on at this step; such a line has no measurements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How many processes trained together; not written for one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranks: usize,
}

impl Record {
    /// Bits per dimension, of which a `train` line of some models lacks the log-dets.
    pub fn any_bpd(&self) -> Option<f64> {
        self.bpd.or(self.bpd_without_log_dets)
    }

    /// What `train` lines have measured, where `without_log_dets` says that it is no likelihood.
    #[must_use]
    pub fn with_nll(self, nll_nats: f64, bpd: f64, without_log_dets: bool) -> Self {
        let (nll_nats, bpd) = (Some(nll_nats), Some(bpd));
        match without_log_dets {
            false => Self {
                nll_nats,
                bpd,
                ..self
            },
            true => Self {
                nll_nats_without_log_dets: nll_nats,
                bpd_without_log_dets: bpd,
                ..self
            },
        }
    }
}

fn one() -> usize {
    1
}

fn is_one(ranks: &usize) -> bool {
    *ranks == 1
}

/// Appends records to a file, flushing each.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file of a run that goes on after `step`: what a stopped session wrote past it, and a last line
    /// that was cut off, are removed. With `step` 0 it starts empty.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let mut kept = String::new();
        if step > 0 && path.exists() {
            let text = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
            for line in text.lines() {
                let record = serde_json::from_str::<Record>(line);
                // what changed at this step is said again
                let stays = |record: &Record| {
                    record.step < step || record.step == step && record.changes.is_empty()
                };
                if record.is_ok_and(|record| stays(&record)) {
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
        }
        files::write(path, kept)?;
        Ok(Self {
            path: path.to_path_buf(),
            file: files::open_to_append(path)?,
        })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_string(record).map_err(|err| Error::file(&self.path, err))?;
        line.push('\n');
        // one call per line, so that a reader sees no half of it
        self.file
            .write_all(line.as_bytes())
            .map_err(|err| Error::file(&self.path, err))
    }
}

/// All records of a file. A last line without its end is being written, or was when its process was ended: it does not
/// count.
///
/// # Errors
/// The file cannot be read, or a line is not a record.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate();
    lines
        .map(|(i, line)| {
            serde_json::from_str(line)
                .map_err(|err| Error::file(path, format!("line {}: {err}", i + 1)))
        })
        .collect()
}

/// Lowest bits per dimension that validations up to `step` have reached, if there is a file with one.
///
/// # Errors
/// The file cannot be read.
pub(super) fn best_bpd(path: &Path, step: u64) -> Result<Option<f64>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
    let records = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let validations =
        records.filter(|record: &Record| record.split == Split::Val && record.step <= step);
    Ok(validations.filter_map(|record| record.bpd).reduce(f64::min))
}

/// Sums over the steps between two lines.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sums {
    /// Steps that were taken.
    pub steps: u64,
    /// Images of all steps, skipped ones included.
    pub images: u64,
    /// Time of all steps, seconds.
    pub seconds: f64,
    /// Time of these in which they waited for their images, seconds.
    pub waited: f64,
    nll: f64,
    grad_norm: f64,
}

impl Sums {
    /// Adds steps of `images` images that took `seconds`, all of them together, `waited` of these before they had them.
    pub fn add(&mut self, totals: &Totals, images: u64, seconds: f64, waited: f64) {
        self.steps += totals.taken;
        self.nll += totals.nll;
        self.grad_norm += totals.grad_norm;
        self.images += images;
        self.seconds += seconds;
        self.waited += waited;
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.images == 0
    }

    /// Mean negative log-likelihood and gradient norm of the steps that were taken.
    pub fn means(&self) -> Option<(f64, f64)> {
        let steps = self.steps as f64;
        (self.steps > 0).then(|| (self.nll / steps, self.grad_norm / steps))
    }

    /// Images per second.
    pub fn images_per_s(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.images as f64 / self.seconds)
    }

    /// Part of the time in which the steps waited for their images.
    pub fn data_wait(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.waited / self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64) -> Record {
        Record {
            step,
            epoch: 1,
            images: Some(10 * step),
            split: Split::Train,
            nll_nats: Some(1234.5),
            bpd: Some(2.25),
            nll_nats_without_log_dets: None,
            bpd_without_log_dets: None,
            lr: 1e-3,
            grad_norm: None,
            images_per_s: Some(100.0),
            data_wait: Some(0.25),
            seconds: 1.5,
            skipped: 0,
            changes: Vec::new(),
            ranks: 1,
        }
    }

    #[test]
    fn reopening_drops_what_lies_past_the_checkpoint_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut metrics = Metrics::open(&path, 0).unwrap();
        for step in [10, 20, 30, 40] {
            metrics.write(&record(step)).unwrap();
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"step\": 50, \"epo");
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap().len(), 4);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 5"));

        Metrics::open(&path, 30)
            .unwrap()
            .write(&record(35))
            .unwrap();
        let steps: Vec<_> = read(&path).unwrap().iter().map(|r| r.step).collect();
        assert_eq!(steps, [10, 20, 30, 35]);

        Metrics::open(&path, 0).unwrap();
        assert!(read(&path).unwrap().is_empty());
    }

    #[test]
    fn a_line_has_the_documented_keys() {
        let value = serde_json::to_value(record(1)).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let documented =
            "step epoch images split nll_nats bpd lr grad_norm images_per_s data_wait seconds skipped";
        assert_eq!(keys.join(" "), documented);
        assert!(value["grad_norm"].is_null());
        let of_three = Record {
            ranks: 3,
            ..record(1)
        };
        let line = serde_json::to_string(&of_three).unwrap();
        assert!(line.ends_with(",\"ranks\":3}"), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), of_three);
    }

    #[test]
    fn means_leave_out_skipped_steps_but_their_time_counts() {
        let mut sums = Sums::default();
        let totals = |taken: u64, nll: f64, grad_norm: f64| Totals {
            steps: 2,
            taken,
            nll,
            grad_norm,
            ..Totals::default()
        };
        sums.add(&totals(1, 2.0, 1.0), 10, 0.5, 0.25);
        sums.add(&totals(0, 0.0, 0.0), 10, 0.5, 0.0);
        sums.add(&totals(2, 10.0, 5.0), 10, 1.0, 0.25);
        assert_eq!(sums.means(), Some((4.0, 2.0)));
        assert_eq!(sums.images_per_s(), Some(15.0));
        assert_eq!(sums.data_wait(), Some(0.25));
    }
}
