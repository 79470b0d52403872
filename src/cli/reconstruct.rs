//! `inverse-flow reconstruct`

use super::common::{self, Compute, Described, Images, NetPrecision};
use crate::plot::save_pairs;
use crate::train::{say, Dequantization, Evaluation};
use clap::Args;
use std::path::PathBuf;

/// Encode images, decode them again, and save originals above reconstructions
#[derive(Debug, Args)]
#[command(
    after_help = "Example: inverse-flow reconstruct runs/first --out pairs.png
A flow is a bijection, so the two rows must look the same; the error that is printed says by how much they differ."
)]
pub struct ReconstructArgs {
    /// Run folder, checkpoint, or file of PyTorch or tch
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    precision: NetPrecision,
    /// Number of images, the first of the split
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    #[command(flatten)]
    images: Images,
    /// PNG file to write
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    #[command(flatten)]
    compute: Compute,
}

impl ReconstructArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let device = self.compute.start()?;
        let loaded = common::load(&self.path, &self.described, &self.precision, device)?;
        let data = self
            .images
            .load(&loaded.config, Some(self.count as usize))?;
        let evaluation = Evaluation {
            batch_size: loaded.config.train.batch_size,
            dequantize: Dequantization::Midpoint,
            seed: loaded.config.seed,
            device,
        };
        let pairs = evaluation.reconstruct(&loaded.model, &data)?;
        let columns = (data.len() as f64).sqrt().ceil() as usize;
        save_pairs(&pairs.originals, &pairs.decoded, columns, 3, &self.out)?;
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        say(&format!(
            "largest error {:.3e} of the pixel range, {} of {} {}-bit pixels differ; {}",
            pairs.max_abs,
            pairs.pixels_that_differ,
            pairs.originals.numel(),
            loaded.config.bits,
            self.out.display()
        ));
        Ok(())
    }
}
