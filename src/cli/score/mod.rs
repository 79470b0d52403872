//! `inverse-flow score`: the likelihood of every image, and how well it tells two sets apart.
//!
//! | file | idea |
//! |---|---|
//! | `table` | the lines about images, as CSV or JSON |
//! | `compare` | two sets side by side: how well each score tells them apart, the histogram |
//! | `auroc`, `complexity` | ranks and the area under the curve; how short a PNG file of an image is |

mod auroc;
mod compare;
mod complexity;
mod table;

use super::compute::Compute;
use super::images::SourceImages;
use super::model_file::{Loaded, ModelFile};
use super::non_finite::NonFinite;
use super::ranks::{self, Ranks};
use super::{out, values};
use crate::data::{Dataset, Source};
use crate::plot::{check_grid, save_grid};
use crate::train::{same_everywhere, say, Dequantization, Evaluation, Team};
use crate::words::counted;
use anyhow::Context;
use clap::Args;
use compare::{Comparison, Set};
use serde_json::json;
use std::path::PathBuf;
use std::str::FromStr;
use table::{Reference, Row};

/// Endings of the table.
const TABLES: [&str; 2] = ["csv", "jsonl"];

/// Endings of the histogram.
const PICTURES: [&str; 2] = ["svg", "png"];

/// Images of the grid, if --top does not say how many.
const IN_GRID: usize = 16;

/// Where the training images come from that the others are compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Against {
    Nothing,
    These(Source),
}

impl FromStr for Against {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        match text {
            "none" => Ok(Self::Nothing),
            _ => text.parse().map(Self::These),
        }
    }
}

/// Score every image by its likelihood, and tell two sets of images apart
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: inverse-flow score runs/first photos --out scores.csv --top 16 --grid unlikely.png
          inverse-flow score runs/first mnist --against fashion.npz --out scores.csv
One line an image: file, label, NLL in nats, bits per dimension, rank among the training images, typicality, and the NLL without the
length of a PNG file (docs/score.md)."
)]
pub struct ScoreArgs {
    #[command(flatten)]
    file: ModelFile,
    /// Data set, folder or file, as for train
    #[arg(value_name = "SOURCE", value_parser = values::data(), hide_possible_values = true)]
    source: Source,
    #[command(flatten)]
    images: SourceImages,
    /// Only the first N images of each source [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// A second source: how well the scores tell the two apart, and a histogram of both
    #[arg(long, value_name = "SOURCE", value_parser = values::data(), hide_possible_values = true)]
    against: Option<Source>,
    /// Images that ranks and typicality refer to, or none [default: the training images of the run]
    #[arg(long, value_name = "SOURCE|none")]
    reference: Option<Against>,
    /// Only the first N of them
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    reference_limit: u32,
    /// List the N least likely images of the first source
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// Save these images as a grid
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Save a histogram, as SVG or PNG [default with --against: both, beside --out]
    #[arg(long, value_name = "FILE.svg|.png")]
    histogram: Option<PathBuf>,
    /// What is added to integer pixels: uniform noise from the seed, or midpoint for 0.5
    #[arg(long, default_value = "uniform")]
    dequantize: Dequantization,
    /// Images per batch [default: that of the run]
    #[arg(long, value_name = "B")]
    batch_size: Option<usize>,
    /// Seed of the noise [default: that of the run]
    #[arg(long)]
    seed: Option<u64>,
    /// File to write: .csv, or .jsonl for one JSON object a line
    #[arg(long, value_name = "FILE.csv|.jsonl")]
    out: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    non_finite: NonFinite,
    #[command(flatten)]
    compute: Compute,
}

impl ScoreArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let ranks = Ranks::join(ranks::start_again("score"))?;
        let done = self.score(&ranks.team);
        ranks.conclude(done)
    }

    fn score(&self, team: &Team) -> anyhow::Result<()> {
        // the others write nothing
        team.from_main(|| self.check_files())?;
        let device = self.compute.start_in(team)?;
        let loaded = self.file.load_in(team, device)?;
        self.non_finite
            .check_parameters(team, &self.file.path, &loaded.vs)?;
        let first = self.images.load(&loaded.config, &self.source, self.limit)?;
        let second = self.against.as_ref();
        let second = second
            .map(|source| self.images.load(&loaded.config, source, self.limit))
            .transpose()?;
        let reference = self.load_reference(&loaded)?;
        if self.grid.is_some() {
            let count = self.listed().min(first.len());
            check_grid(first.chw, count, columns(count), 2)?;
        }
        let all = [Some(&first), second.as_ref(), reference.as_ref()];
        same_everywhere(team, &all.into_iter().flatten().collect::<Vec<_>>())?;
        let evaluation = Evaluation {
            batch_size: self.batch_size.unwrap_or(loaded.config.train.batch_size),
            dequantize: self.dequantize,
            seed: self.seed.unwrap_or(loaded.config.seed),
            device,
        };
        let nll = |data: &Dataset| self.nll(team, &evaluation, &loaded, data);
        let reference = match &reference {
            Some(data) => Some(Reference::new(data.name.clone(), nll(data)?)),
            None => None,
        };
        let scored = |data: Dataset| -> anyhow::Result<Set> {
            let nll = nll(&data)?;
            let png_bits = complexity::png_bits(team, &data, loaded.model.bits())?;
            let rows = table::rows(&data, &nll, &png_bits, reference.as_ref());
            Ok(Set { data, rows })
        };
        let first = scored(first)?;
        let second = second.map(scored).transpose()?;
        match team.is_main() {
            true => self.tell(&loaded, &first, second.as_ref(), reference.as_ref()),
            false => Ok(()),
        }
    }

    /// All files that will be written, with what they are and their endings.
    fn files(&self) -> Vec<(&'static str, PathBuf, &'static [&'static str])> {
        let mut files: Vec<(_, _, &[&str])> = vec![("--out", self.out.clone(), &TABLES)];
        let grid = self.grid.iter();
        files.extend(grid.map(|grid| ("--grid", grid.clone(), &PICTURES[1..])));
        let histograms = self.histograms().into_iter();
        files.extend(histograms.map(|path| ("--histogram", path, &PICTURES[..])));
        files
    }

    /// The histograms that will be written.
    fn histograms(&self) -> Vec<PathBuf> {
        match (&self.histogram, &self.against) {
            (Some(path), _) => vec![path.clone()],
            (None, Some(_)) => PICTURES
                .map(|ending| self.out.with_extension(ending))
                .into(),
            (None, None) => Vec::new(),
        }
    }

    /// Looks at everything that will be written, before the work.
    fn check_files(&self) -> crate::Result<()> {
        let files = self.files();
        for (i, (flag, path, endings)) in files.iter().enumerate() {
            out::check_file(flag, path, endings)?;
            if path.is_file() && !self.overwrite {
                let problem =
                    "is there already: choose another file, or replace it with --overwrite";
                return Err(crate::Error::file(path, problem));
            }
            if files[..i].iter().any(|(_, other, _)| other == path) {
                let path = path.display();
                return Err(crate::Error::config(format!(
                    "{path}: two results cannot be in one file: give --grid and --histogram other names"
                )));
            }
        }
        Ok(())
    }

    /// The training images that the others are compared with.
    fn load_reference(&self, loaded: &Loaded) -> anyhow::Result<Option<Dataset>> {
        let run = &loaded.config;
        let most = self.reference_limit as usize;
        let data = match &self.reference {
            Some(Against::Nothing) => return Ok(None),
            Some(Against::These(source)) => self.images.load_train(run, source, Some(most))?,
            None => {
                self.images.load_of_run(run, most).context(
                    "the training images of the run, to which ranks refer: give others by --reference SOURCE, or go on without \
                     by --reference none",
                )?
            }
        };
        Ok(Some(data))
    }

    /// The negative log-likelihoods of images; those that are not finite are an error, or told of.
    fn nll(
        &self,
        team: &Team,
        evaluation: &Evaluation,
        loaded: &Loaded,
        data: &Dataset,
    ) -> anyhow::Result<Vec<f64>> {
        let log_probs = evaluation.log_probs_in(team, &loaded.model, data, 1)?;
        let (checks, model) = (self.non_finite, &loaded.model);
        checks.meet_log_probs(team, evaluation, model, data, &log_probs)?;
        Ok(log_probs.means().iter().map(|log_prob| -log_prob).collect())
    }

    /// How many images are listed.
    fn listed(&self) -> usize {
        let default = self.grid.as_ref().map(|_| IN_GRID);
        self.top.map(|top| top as usize).or(default).unwrap_or(0)
    }

    /// Writes the files and says what was found.
    fn tell(
        &self,
        loaded: &Loaded,
        first: &Set,
        second: Option<&Set>,
        reference: Option<&Reference>,
    ) -> anyhow::Result<()> {
        let sets: Vec<&Set> = [Some(first), second].into_iter().flatten().collect();
        let rows: Vec<Row> = sets.iter().flat_map(|set| set.rows.clone()).collect();
        table::write(&self.out, &rows)?;
        let top = first.least_likely(self.listed());
        if let Some(grid) = &self.grid {
            let images = first.data.batch(&top)?;
            save_grid(&images, columns(top.len()), 2, grid)?;
        }
        for path in self.histograms() {
            compare::draw(&sets, reference, &path)?;
        }
        let comparison = second.map(|second| Comparison::new(first, second));
        if self.json {
            let object = json!({
                "model": loaded.config.model.name(),
                "out": self.out,
                "sets": sets.iter().map(|set| set.summary()).collect::<Vec<_>>(),
                "reference": reference.map(|of| json!({
                    "data": of.name,
                    "images": of.nll().len(),
                    "nll_nats": of.mean(),
                })),
                "dequantize": self.dequantize,
                "top": top.iter().map(|i| &first.rows[*i]).collect::<Vec<_>>(),
                "against": comparison.as_ref().map(Comparison::json),
            });
            say(&serde_json::to_string(&object)?);
            return Ok(());
        }
        if let Some(precision) = loaded.precision() {
            say(&precision);
        }
        if loaded.model.classes().is_some() {
            say("every image given its label; a set without labels counts as class 0");
        }
        sets.iter().for_each(|set| say(&set.line()));
        match reference {
            Some(of) => say(&format!(
                "ranks and typicality refer to {}, the first {}: NLL {:.3} nats",
                of.name,
                counted(of.nll().len(), "image"),
                of.mean()
            )),
            None => say("no ranks and no typicality: --reference none"),
        }
        say(&format!(
            "{} in {}",
            counted(rows.len(), "row"),
            self.out.display()
        ));
        if !top.is_empty() {
            let place = self
                .grid
                .as_ref()
                .map(|grid| format!(", in {}", grid.display()));
            say(&format!(
                "the least likely of {}{}:",
                first.data.name,
                place.unwrap_or_default()
            ));
            top.iter().for_each(|i| say(&first.rows[*i].line()));
        }
        if let Some(comparison) = comparison {
            comparison.lines().iter().for_each(|line| say(line));
        }
        let histograms = self.histograms();
        let names: Vec<_> = histograms
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if !names.is_empty() {
            say(&format!("histogram in {}", names.join(" and ")));
        }
        Ok(())
    }
}

/// Columns of a grid of so many images.
fn columns(count: usize) -> usize {
    (count as f64).sqrt().ceil() as usize
}
