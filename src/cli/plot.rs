//! `inverse-flow plot`

use super::out;
use super::watch::draw_curves;
use crate::train::{say, RunDir};
use clap::Args;
use std::path::PathBuf;

/// Draw curves.png of a run again from its metrics.jsonl
#[derive(Debug, Args)]
#[command(after_help = "Example: inverse-flow plot runs/first")]
pub struct PlotArgs {
    /// Run folder
    #[arg(value_name = "RUN")]
    path: PathBuf,
}

impl PlotArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let run = RunDir::open(&self.path)?;
        out::check_place(&run.curves())?;
        draw_curves(&run)?;
        say(&run.curves().display().to_string());
        Ok(())
    }
}
