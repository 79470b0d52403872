//! What is kept of a row: every number as soon as it is known, so that no work is done twice.

use super::folder::{read_json, write_json};
use super::times::{SampleTimes, StepTimes};
use super::{Budget, Environment, Pass, Passes, Plan};
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
    /// Every number of one pass is there, of the other one not.
    #[serde(rename = "one pass")]
    OnePass,
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
            Self::OnePass => "one pass",
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
    /// What the latest call ran on.
    pub environment: Environment,
    /// What the numbers of each pass come from.
    #[serde(default)]
    pub passes: Passes,
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
        let mut state: Self = read_json(&path)?.unwrap_or_default();
        // programs that had no passes measured both in one
        for pass in Pass::ALL {
            if state.has(pass) && state.passes.of(pass).is_empty() {
                state.passes.add(pass, &state.environment);
            }
        }
        Ok(state)
    }

    /// Whether there is any number of a half.
    pub fn has(&self, pass: Pass) -> bool {
        match pass {
            Pass::Likelihood => !self.seeds.is_empty(),
            Pass::Times => self.step.is_some() || self.sampling.is_some(),
        }
    }

    /// Whether every number of a half is there.
    pub fn is_complete(&self, pass: Pass, budget: &Budget) -> bool {
        match pass {
            Pass::Likelihood => {
                let ended = |seed| self.seeds.iter().any(|own| own.seed == seed);
                (0..budget.seeds).all(ended)
            }
            Pass::Times => self.step.is_some() && self.sampling.is_some(),
        }
    }

    /// Keeps the state.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path, row: &str) -> Result<()> {
        write_json(&Plan::row_dir(dir, row).join("state.json"), self)
    }
}
