//! `inverse-flow data inspect` and `data pack`.

use crate::cli::out;
use crate::cli::pictures::{Pictures, Shape};
use crate::cli::values;
use crate::data::{self, size_text, DataConfig, Fit, Source, Split, Survey};
use crate::plot::save_grid;
use crate::train::say;
use crate::words::counted;
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Sizes and classes that are listed; of more, the rest is counted.
const LISTED: usize = 12;

/// Images in the grid.
const IN_GRID: usize = 64;

/// Where images are, and what they are brought to.
#[derive(Debug, Args)]
struct Origin {
    /// Data set, folder or file, as for train
    #[arg(value_name = "SOURCE", value_parser = values::data(), hide_possible_values = true)]
    source: Source,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    pictures: Pictures,
    /// Folder of the data sets that are known by name [default: $INVERSE_FLOW_DATA, else data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Seed of what glyphs and noise64 draw
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

impl Origin {
    fn config(&self) -> DataConfig {
        let mut config = DataConfig::new(self.source.clone());
        self.shape.apply(&mut config);
        self.pictures.apply(&mut config);
        if let Some(dir) = &self.data_dir {
            config.dir.clone_from(dir);
        }
        config
    }
}

/// The arguments of `data inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    from: Origin,
    /// Also save the first training images as a grid
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Runs the command.
    ///
    /// # Errors
    /// Nothing there, nothing that is known, or files that are not what they should be.
    pub fn run(&self) -> Result<()> {
        if let Some(path) = &self.grid {
            out::check_file("--grid", path, &["png"])?;
        }
        let config = self.from.config();
        let survey = data::survey(&config, self.from.seed)?;
        if self.json {
            say(&serde_json::to_string(&object(&survey))?);
        } else {
            say(&format!("{}: {}", self.from.source, survey.kind));
            lines(&survey).iter().for_each(|line| say(line));
        }
        if let Some(path) = &self.grid {
            let config = fitting(config, &survey);
            let images = data::load_split(&config, self.from.seed, Split::Train)?;
            let images = images.subset(0..IN_GRID);
            let columns = (images.len() as f64).sqrt().ceil() as usize;
            save_grid(&images.all()?, columns, 2, path)?;
            if !self.json {
                let size = size_text(images.chw);
                let count = counted(images.len(), "training image");
                say(&format!("{count} of {size} in {}", path.display()));
            }
        }
        Ok(())
    }
}

/// The settings by which a few images of any size can be shown.
fn fitting(mut config: DataConfig, survey: &Survey) -> DataConfig {
    config.limit = Some(IN_GRID);
    config.skip_damaged = true;
    if let ([(size, _), _, ..], None) = (&survey.sizes[..], config.image) {
        config.image = Some(*size);
        if config.fit == Fit::Error {
            config.fit = Fit::Resize;
        }
    }
    config
}

fn object(survey: &Survey) -> serde_json::Value {
    let [train, val, test] = survey.splits;
    let sizes = survey
        .sizes
        .iter()
        .map(|(size, count)| json!({"size": size, "images": count}));
    let classes = survey
        .classes
        .iter()
        .map(|(name, count)| json!({"class": name, "images": count}));
    json!({
        "kind": survey.kind,
        "train": train,
        "val": val,
        "test": test,
        "sizes": sizes.collect::<Vec<_>>(),
        "classes": classes.collect::<Vec<_>>(),
        "fingerprint": survey.fingerprint,
        "remarks": survey.remarks,
    })
}

fn lines(survey: &Survey) -> Vec<String> {
    let [train, val, test] = survey.splits;
    let images = counted(train + val + test, "image");
    let mut lines = vec![format!(
        "{images}: {train} to train, {val} to validate, {test} to test"
    )];
    let sizes = survey
        .sizes
        .iter()
        .map(|(size, count)| (size_text(*size), count));
    lines.push(listed("size", sizes.collect()));
    if !survey.classes.is_empty() {
        let classes = survey
            .classes
            .iter()
            .map(|(name, count)| (name.clone(), count));
        lines.push(listed("class", classes.collect()));
    }
    if let Some(fingerprint) = &survey.fingerprint {
        lines.push(format!("fingerprint {fingerprint}"));
    }
    lines.extend(survey.remarks.iter().cloned());
    lines
}

/// `3 sizes: 3x32x32 (40 images), ...`
fn listed(what: &str, all: Vec<(String, &usize)>) -> String {
    let first = all.iter().take(LISTED);
    let first: Vec<String> = first
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    let more = match all.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}: {}{more}", counted(all.len(), what), first.join(", "))
}

/// The arguments of `data pack`.
#[derive(Debug, Args)]
pub struct Pack {
    #[command(flatten)]
    from: Origin,
    /// File to write; other programs read it as safetensors
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    overwrite: bool,
}

impl Pack {
    /// Runs the command.
    ///
    /// # Errors
    /// As [`Inspect::run`], or a file that is there already or cannot be written.
    pub fn run(&self) -> Result<()> {
        if self.out.exists() && !self.overwrite {
            anyhow::bail!(
                "{}: is there already: choose another file, or replace it with --overwrite",
                self.out.display()
            );
        }
        out::check_place(&self.out)?;
        let packing = data::pack(&self.from.config(), self.from.seed, &self.out)?;
        packing.remarks.iter().for_each(|remark| say(remark));
        let [train, val, test] = packing.counts;
        say(&format!(
            "{} of {} in {}: {train} to train, {val} to validate, {test} to test",
            counted(train + val + test, "image"),
            size_text(packing.chw),
            self.out.display()
        ));
        Ok(())
    }
}
