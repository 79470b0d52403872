//! What is kept of a row: every number as soon as it is known, so that no work is done twice.

use super::folder::{read_json, write_json};
use super::times::{SampleTimes, StepTimes};
use super::{Environment, Plan};
use crate::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How far a row is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Never begun.
    #[default]
    #[serde(rename = "not run")]
    NotRun,
    /// Begun and stopped: the next call goes on.
    #[serde(rename = "interrupted")]
    Interrupted,
    /// Every number is there.
    #[serde(rename = "done")]
    Done,
    /// Ended by an error; the next call tries again.
    #[serde(rename = "failed")]
    Failed,
}

impl Status {
    /// As in `report.json`.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotRun => "not run",
            Self::Interrupted => "interrupted",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Likelihood of the test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Images.
    pub images: usize,
    /// Bits per dimension, one for each dequantisation sample.
    pub bpd: Vec<f64>,
    /// Nats per image, likewise.
    pub nll_nats: Vec<f64>,
}

/// One run of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedState {
    /// Its seed.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Best validation, bits per dimension.
    pub val_bpd: Option<f64>,
    /// Whether the recipe's own end, or the bits per dimension it was to reach, were reached.
    pub complete: bool,
    /// The test split; `None` if the model gave no finite likelihood.
    pub test: Option<Test>,
    /// Why training ended early.
    pub problem: Option<String>,
}

/// A row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RowState {
    /// How far it is.
    pub status: Status,
    /// The configuration it started from.
    pub preset: String,
    /// Trainable parameters.
    pub params: Option<i64>,
    /// Images of a training step.
    pub batch_size: usize,
    /// Data in use, as `mnist`.
    pub data: String,
    /// Whether they are those of the paper.
    pub own_data: bool,
    /// Magnitude that weights were clamped to.
    pub clamp: Option<f64>,
    /// Training step, forward pass, memory.
    pub step: Option<StepTimes>,
    /// Runs that have ended.
    pub seeds: Vec<SeedState>,
    /// Sampling.
    pub sampling: Option<SampleTimes>,
    /// What the numbers come from.
    pub environment: Environment,
    /// Seconds of all calls together.
    pub wall_seconds: f64,
    /// Why the row failed.
    pub error: Option<String>,
}

impl RowState {
    /// The state of a row of a result folder; that of one never begun if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(dir: &Path, row: &str) -> Result<Self> {
        let path = Plan::row_dir(dir, row).join("state.json");
        Ok(read_json(&path)?.unwrap_or_default())
    }

    /// Keeps the state.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path, row: &str) -> Result<()> {
        write_json(&Plan::row_dir(dir, row).join("state.json"), self)
    }
}
