//! `inverse-flow plot`

use super::curves::{axis, draw_one, name, Along, Measured};
use super::labels::labels;
use super::out;
use crate::plot::{compare, Compared};
use crate::train::{say, Checkpoint, RunConfig, RunDir};
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Draw the bits per dimension of a run, or of several in one chart
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  inverse-flow plot runs/first                             draws runs/first/curves.png again
  inverse-flow plot runs/* --x time --out compared.svg")]
pub struct PlotArgs {
    /// Run folders
    #[arg(value_name = "RUN", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Picture to write, .png or .svg [default: curves.png in the folder of a single run]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What the x axis counts
    #[arg(long, value_enum, value_name = "X", default_value_t = Along::Steps)]
    x: Along,
}

impl PlotArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        if let Some(file) = &self.out {
            out::check_file("--out", file, &["png", "svg"])?;
        }
        let runs = self.paths.iter().map(|path| open(path));
        let runs = runs.collect::<Result<Vec<_>>>()?;
        let file = match (&self.out, &runs[..]) {
            (Some(file), _) => file.clone(),
            (None, [run]) => run.curves(),
            (None, _) => {
                let problem = "several runs have no folder in common: name the picture with --out FILE.png or --out FILE.svg";
                return Err(Error::config(problem).into());
            }
        };
        out::check_place(&file)?;
        match &runs[..] {
            [run] => draw_one(run, self.x, &file)?,
            _ => self.draw(&runs, &file)?,
        }
        say(&file.display().to_string());
        Ok(())
    }

    fn draw(&self, runs: &[RunDir], file: &Path) -> Result<()> {
        let names = self.names(runs)?;
        let configs = runs.iter().map(config).collect::<Result<Vec<_>>>()?;
        let named: Vec<_> = names.into_iter().zip(&configs).collect();
        let mut measured = Vec::new();
        for run in runs {
            measured.push(Measured::read(run, self.x)?);
        }
        let x_label = axis(self.x, &mut measured);
        let mut labels = labels(&named)?;
        for (label, measured) in labels.iter_mut().zip(&measured) {
            if measured.without_log_dets {
                *label += ", training without log-dets";
            }
        }
        let compared = labels.into_iter().zip(measured);
        let compared: Vec<_> = compared
            .map(
                |(
                    label,
                    Measured {
                        training,
                        validation,
                        ..
                    },
                )| Compared {
                    label,
                    training,
                    validation,
                },
            )
            .collect();
        let data = configs[0].data.name.to_string();
        let same = configs
            .iter()
            .all(|config| config.data.name.to_string() == data);
        let title = match Path::new(&data).file_name() {
            Some(name) if same => name.to_string_lossy().into_owned(),
            _ => String::new(),
        };
        compare(&compared, &title, x_label, "bits per dimension", file)
    }

    /// The names of the folders, or their paths where two are alike.
    fn names(&self, runs: &[RunDir]) -> Result<Vec<String>> {
        let short: Vec<_> = runs.iter().map(|run| name(run.root())).collect();
        let whole: Vec<_> = runs
            .iter()
            .map(|run| run.root().canonicalize().ok())
            .collect();
        for (i, path) in whole.iter().enumerate() {
            if path.is_some() && whole[..i].contains(path) {
                let problem = "is named twice: each run is drawn once";
                return Err(Error::file(runs[i].root(), problem));
            }
        }
        let unlike = |i: usize| short.iter().filter(|other| **other == short[i]).count() == 1;
        let names = runs.iter().enumerate().map(|(i, run)| match unlike(i) {
            true => short[i].clone(),
            false => run.root().display().to_string(),
        });
        Ok(names.collect())
    }
}

fn open(path: &Path) -> Result<RunDir> {
    if !path.exists() {
        let problem = "no such run folder: give the folders that train --out has made";
        return Err(Error::file(path, problem));
    }
    RunDir::open(path)
}

/// The settings of a run, in its folder or in its checkpoint.
fn config(run: &RunDir) -> Result<RunConfig> {
    let path = run.config();
    if !path.exists() {
        return Ok(Checkpoint::open(&run.last())?.config);
    }
    let text = std::fs::read_to_string(&path).map_err(|err| Error::file(&path, err))?;
    RunConfig::from_json(&text).map_err(|err| Error::file(&path, err))
}
