//! `inverse-flow reconstruct`

use super::compute::Compute;
use super::images::Images;
use super::model_file::ModelFile;
use super::non_finite::NonFinite;
use super::out;
use crate::flows::Cx;
use crate::plot::{check_grid, save_pairs};
use crate::train::finite::where_decoding_ends;
use crate::train::{first_lost, say, to_float, Dequantization, Evaluation, Tally, Team};
use clap::Args;
use std::path::PathBuf;

/// Encode images, decode them again, and save originals above reconstructions
#[derive(Debug, Args)]
#[command(
    after_help = "Example: inverse-flow reconstruct runs/first --out pairs.png
A flow is a bijection, so the two rows must look the same; the error that is printed says by how much they differ."
)]
pub struct ReconstructArgs {
    #[command(flatten)]
    file: ModelFile,
    /// Number of images, the first of the split
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    #[command(flatten)]
    images: Images,
    /// PNG file to write
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    #[command(flatten)]
    non_finite: NonFinite,
    #[command(flatten)]
    compute: Compute,
}

/// Pixels of the picture for one of an image.
const SCALE: usize = 3;

impl ReconstructArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        out::check_png(&self.out)?;
        let device = self.compute.start()?;
        let loaded = self.file.load(device)?;
        let team = Team::alone();
        self.non_finite
            .check_parameters(&team, &self.file.path, &loaded.vs)?;
        let data = self
            .images
            .load(&loaded.config, Some(self.count as usize))?;
        let columns = (data.len() as f64).sqrt().ceil() as usize;
        check_grid(data.chw, 2 * data.len(), columns, SCALE)?;
        let evaluation = Evaluation {
            batch_size: loaded.config.train.batch_size,
            dequantize: Dequantization::Midpoint,
            seed: loaded.config.seed,
            device,
        };
        let pairs = evaluation.reconstruct(&loaded.model, &data)?;
        save_pairs(&pairs.originals, &pairs.decoded, columns, SCALE, &self.out)?;
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
        let Some(first) = first_lost(&pairs.decoded)? else {
            return Ok(());
        };
        let x = to_float(&data.batch(&[first as usize])?, device)?;
        let model = &loaded.model;
        let condition = model.condition(&data.labels[first as usize..][..1])?;
        let cx = Cx {
            condition: condition.as_ref(),
            ..Cx::default()
        };
        let place = match model.first_non_finite(&x, cx)? {
            Some(layer) => Some(format!("from layer `{layer}` of encoding on")),
            None => where_decoding_ends(model, &model.encode(&x, cx)?.latents, cx)?,
        };
        let text = Tally::of(&pairs.decoded)?.lost_text(place.as_deref());
        self.non_finite.meet(&team, &text.unwrap_or_default())
    }
}
