//! Bits per dimension of runs, as curves.

use crate::data::Split;
use crate::plot::{curves, Series};
use crate::train::metrics::{self, Record};
use crate::train::RunDir;
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::Path;

/// What an x axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Along {
    /// Optimiser steps
    Steps,
    /// Time of training, all sessions together
    Time,
    /// Training images seen
    Images,
}

impl Along {
    /// Where a line is on the axis, time in seconds; nowhere by images for lines of older versions.
    fn of(self, record: &Record) -> Option<f64> {
        match self {
            Self::Steps => Some(record.step as f64),
            Self::Time => Some(record.seconds),
            Self::Images => record.images.map(|images| images as f64),
        }
    }
}

/// What is measured of a run.
#[derive(Debug)]
pub struct Measured {
    /// `(x, y)`, time in seconds; NaN where a mean is not known.
    pub training: Vec<(f64, f64)>,
    /// The same.
    pub validation: Vec<(f64, f64)>,
    /// Whether `training` lacks log-dets.
    pub without_log_dets: bool,
}

impl Measured {
    /// Reads what a run has measured.
    ///
    /// # Errors
    /// No measurement yet, lines that do not say where they are, or a file that cannot be read.
    pub fn read(run: &RunDir, along: Along) -> Result<Self> {
        let path = run.metrics();
        if !path.exists() {
            let problem = "has no metrics.jsonl: nothing to draw before it is trained";
            return Err(Error::file(run.root(), problem));
        }
        let records = metrics::read(&path)?;
        let measured: Vec<_> = records
            .iter()
            .filter(|record| record.changes.is_empty())
            .collect();
        if measured.iter().all(|record| record.any_bpd().is_none()) {
            let problem = "holds no measurement yet: nothing to draw";
            return Err(Error::file(path, problem));
        }
        let points = |split: Split| -> Result<Vec<_>> {
            let of_split = measured.iter().filter(|record| record.split == split);
            of_split
                .map(|record| {
                    let x = along.of(record).ok_or_else(|| {
                        let problem = "its lines are of an older version, which did not count images: use --x steps";
                        Error::file(&path, problem)
                    });
                    Ok((x?, record.any_bpd().unwrap_or(f64::NAN)))
                })
                .collect()
        };
        Ok(Self {
            training: points(Split::Train)?,
            validation: points(Split::Val)?,
            without_log_dets: records.iter().any(|r| r.bpd_without_log_dets.is_some()),
        })
    }

    /// The last place on the x axis.
    pub fn end(&self) -> f64 {
        let all = self.training.iter().chain(&self.validation);
        all.map(|point| point.0).fold(0.0, f64::max)
    }

    /// Divides all places on the x axis.
    fn shrink(&mut self, by: f64) {
        let all = self.training.iter_mut().chain(&mut self.validation);
        all.for_each(|point| point.0 /= by);
    }
}

/// The text of the x axis; times become minutes or hours where these are better to read.
pub fn axis(along: Along, runs: &mut [Measured]) -> &'static str {
    let end = runs.iter().map(Measured::end).fold(0.0, f64::max);
    let (name, unit) = match along {
        Along::Steps => return "step",
        Along::Images => return "training images seen",
        Along::Time if end > 3.0 * 3600.0 => ("hours of training", 3600.0),
        Along::Time if end > 180.0 => ("minutes of training", 60.0),
        Along::Time => return "seconds of training",
    };
    runs.iter_mut().for_each(|run| run.shrink(unit));
    name
}

/// Draws the bits per dimension of a run over its steps into `curves.png`.
///
/// # Errors
/// No metrics yet, or a file that cannot be read or written.
pub fn draw_curves(run: &RunDir) -> Result<()> {
    draw_one(run, Along::Steps, &run.curves())
}

/// Draws one run.
///
/// # Errors
/// As [`draw_curves`].
pub fn draw_one(run: &RunDir, along: Along, out: &Path) -> Result<()> {
    let mut runs = [Measured::read(run, along)?];
    let x_label = axis(along, &mut runs);
    let [run_of] = runs;
    let training = match run_of.without_log_dets {
        true => "training, without log-dets",
        false => "training",
    };
    let mut series = vec![
        Series::dense(training, run_of.training),
        Series::markers("validation", run_of.validation),
    ];
    series.retain(|series| !series.points.is_empty());
    curves(
        &series,
        &name(run.root()),
        x_label,
        "bits per dimension",
        out,
    )
}

/// The name of a run's folder.
pub fn name(root: &Path) -> String {
    let whole = root.canonicalize();
    let root = whole.as_deref().unwrap_or(root);
    let name = root.file_name().unwrap_or(root.as_os_str());
    name.to_string_lossy().into_owned()
}
