//! Where the lines of a run go.

use super::metrics::{Metrics, Record};
use super::tensorboard::Board;
use super::{RunConfig, RunDir};
use crate::Result;
use std::path::Path;

/// `metrics.jsonl`, and TensorBoard's event files if they are asked for.
#[derive(Debug)]
pub(super) struct Records {
    metrics: Metrics,
    board: Option<Board>,
}

impl Records {
    /// The records of a run that goes on after `step`; what a stopped session wrote past it is removed.
    pub(super) fn open(dir: &RunDir, step: u64, config: &RunConfig) -> Result<Self> {
        let metrics = Metrics::open(&dir.metrics(), step)?;
        // where this session has no events, those of an earlier one are cut all the same
        let board = Board::open(dir.root(), step, &config.to_json()?)?;
        Ok(Self {
            metrics,
            board: config.train.tensorboard.then_some(board),
        })
    }

    /// Appends one line.
    pub(super) fn write(&mut self, record: &Record) -> Result<()> {
        self.metrics.write(record)?;
        self.board
            .as_mut()
            .map_or(Ok(()), |board| board.numbers(record))
    }

    /// Adds the sample grid of a validation.
    pub(super) fn picture(&mut self, step: u64, png: &Path) -> Result<()> {
        self.board
            .as_mut()
            .map_or(Ok(()), |board| board.picture(step, png))
    }
}
