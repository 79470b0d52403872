//! `inverse-flow sample`

use super::common::{self, Compute, Described, NetPrecision};
use super::ranks::{self, Ranks};
use crate::plot::save_grid;
use crate::train::{sample_in, say, Team};
use crate::words::counted;
use clap::Args;
use std::path::PathBuf;

/// Draw images from a model and save them as a grid
#[derive(Debug, Args)]
#[command(
    after_help = "Example: inverse-flow sample runs/first --count 100 --out samples.png
The same seed gives the same latents for every model and every count."
)]
pub struct SampleArgs {
    /// Run folder, checkpoint, or file of PyTorch or tch
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    precision: NetPrecision,
    /// Number of images
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Standard deviation of the latents; 1 is the model's own distribution, lower is closer to its mode
    #[arg(long, value_name = "T", default_value_t = 0.7)]
    temperature: f64,
    /// Seed of the latents
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// PNG file to write
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    #[command(flatten)]
    compute: Compute,
}

impl SampleArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let ranks = Ranks::join(ranks::start_again("sample"))?;
        let done = self.draw(&ranks.team);
        ranks.conclude(done)
    }

    fn draw(&self, team: &Team) -> anyhow::Result<()> {
        let device = self.compute.start_in(team)?;
        let loaded = common::load_in(team, &self.path, &self.described, &self.precision, device)?;
        let images = sample_in(
            team,
            &loaded.model,
            i64::from(self.count),
            self.temperature,
            self.seed,
            device,
            loaded.config.train.batch_size as i64,
        )?;
        if !team.is_main() {
            return Ok(());
        }
        let columns = f64::from(self.count).sqrt().ceil() as usize;
        save_grid(&images, columns, 2, &self.out)?;
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        say(&format!(
            "{} at temperature {} in {}",
            counted(self.count, "image"),
            self.temperature,
            self.out.display()
        ));
        Ok(())
    }
}
