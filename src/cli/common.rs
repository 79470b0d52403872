//! Arguments and steps that several subcommands share.

use super::pictures::Pictures;
use super::values;
use crate::data::{self, DataConfig, Dataset, Source, Split};
use crate::models::MultiScale;
use crate::nn::Precision;
use crate::train::{
    build_model, check_classes, find_checkpoint, load_into, stored_config, stored_progress,
    DeviceChoice, RunConfig, Team,
};
use crate::weights::StateFile;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use tch::{nn::VarStore, Device};

/// Where and with how many threads to compute.
#[derive(Debug, Args)]
pub struct Compute {
    /// auto, cpu, cuda or cuda:I [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = values::device(), hide_possible_values = true)]
    pub device: Option<DeviceChoice>,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: Option<i32>,
}

impl Compute {
    /// Sets the number of threads of this process.
    pub fn apply_threads(&self) {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads);
        }
    }

    /// Sets the threads and picks the device; a choice left to the program is reported on standard error.
    pub fn start(&self) -> Result<Device> {
        self.start_in(&Team::alone())
    }

    /// [`start`](Self::start) for several processes, of which rank 0 reports.
    pub fn start_in(&self, team: &Team) -> Result<Device> {
        self.apply_threads();
        let picked = team.pick(self.device.unwrap_or(DeviceChoice::Auto))?;
        let open = |choice| choice == DeviceChoice::Auto;
        if team.is_main() && self.device.is_none_or(open) {
            eprintln!("device: {}", picked.text);
        }
        Ok(picked.device)
    }
}

/// Which images to use instead of those of the run.
#[derive(Debug, Args)]
pub struct Images {
    /// Data set, or a folder or file as for train [default: that of the run]
    #[arg(long, value_name = "DATA", value_parser = values::data(), hide_possible_values = true)]
    data: Option<Source>,
    /// Folder of the data files; of a run on files of one's own, where these are now [default: that of the run]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    pictures: Pictures,
    /// Part of the data: train, val or test
    #[arg(long, default_value = "test")]
    pub split: Split,
}

impl Images {
    /// Loads the images, all or the first `limit`.
    pub fn load(&self, run: &RunConfig, limit: Option<usize>) -> Result<Dataset> {
        let config = images_of(
            run,
            self.data.as_ref(),
            &self.pictures,
            self.data_dir.as_deref(),
        );
        let config = DataConfig { limit, ..config };
        let images = data::load_split(&config, run.seed, self.split)?;
        if let Some(classes) = run.model.classes() {
            check_classes(classes, &images)?;
        }
        Ok(images)
    }

    /// Name of the data set in use.
    pub fn name(&self, run: &RunConfig) -> Source {
        self.data.clone().unwrap_or_else(|| run.data.name.clone())
    }
}

/// Which images a model gets: those of its run, or another source, brought to its size.
pub fn images_of(
    run: &RunConfig,
    source: Option<&Source>,
    pictures: &Pictures,
    dir: Option<&Path>,
) -> DataConfig {
    let mut config = run.data.clone();
    if let Some(source) = source {
        config.name = source.clone();
        config.fingerprint = None;
        config.image = match source {
            Source::Known(_) => None,
            // pictures are brought to the size of the model
            Source::Own(_) => run.data.image.or_else(|| match run.data.pad {
                None => Some(run.model.image()),
                Some(_) => None,
            }),
        };
    }
    pictures.apply(&mut config);
    if let Some(dir) = dir {
        move_to(&mut config, dir);
    }
    config
}

/// Loads the images of a `SOURCE` argument, all or the first `limit`: those of a split, by default the test images of a data
/// set that is known by name, and all images of a source that is not split.
pub fn load_source(
    run: &RunConfig,
    source: &Source,
    pictures: &Pictures,
    dir: Option<&Path>,
    split: Option<Split>,
    limit: Option<usize>,
) -> Result<Dataset> {
    let mut config = DataConfig {
        limit,
        ..images_of(run, Some(source), pictures, dir)
    };
    let split = split.unwrap_or(match source {
        Source::Known(_) => Split::Test,
        Source::Own(_) => {
            // nothing is taken away to validate or test
            config.val_fraction = 0.0;
            Split::Train
        }
    });
    data::load_split(&config, run.seed, split)
}

/// Says where the files of a data set are now: the folder of those that are known by name, or files of one's own.
pub fn move_to(config: &mut DataConfig, dir: &Path) {
    match &mut config.name {
        Source::Known(_) => config.dir = dir.to_path_buf(),
        Source::Own(path) => {
            *path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        }
    }
}

/// What model a file holds that does not say so itself, as for `train`.
#[derive(Debug, Args)]
pub struct Described {
    /// Named settings of the model, for a file of another program
    #[arg(long, value_name = "P", value_parser = values::preset(), hide_possible_values = true)]
    pub preset: Option<String>,
    /// JSON file like a run's config.json, for a file of another program
    #[arg(long, value_name = "F")]
    pub config: Option<PathBuf>,
    /// Where in the file the weights lie, as inspect lists it; . is the top level [default: where they fit]
    #[arg(long, value_name = "PATH")]
    pub key: Option<String>,
    /// Read only the weights whose names begin so, without it [default: what all names share]
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
}

impl Described {
    /// The configuration that the flags stand for.
    pub fn resolve(&self) -> Result<RunConfig> {
        RunConfig::resolve(self.preset.as_deref(), self.config.as_deref())
    }

    fn is_given(&self) -> bool {
        self.preset.is_some() || self.config.is_some()
    }
}

/// Of which class the images of a conditional model are.
#[derive(Debug, Args)]
pub struct OfClass {
    /// The class of the images of a conditional model, by its name or number
    #[arg(long, value_name = "CLASS")]
    pub label: Option<String>,
}

impl OfClass {
    /// The number of the class, if one is given.
    pub fn number(&self, model: &MultiScale) -> Result<Option<u16>> {
        match (&self.label, model.classes()) {
            (None, _) => Ok(None),
            (Some(label), Some(classes)) => classes.label(label).map(Some),
            (Some(_), None) => Err(Error::config(
                "the model knows of no classes: leave --label out, or train one with --conditional",
            )),
        }
    }

    /// [`number`](Self::number) where a conditional model cannot do without.
    pub fn needed(&self, model: &MultiScale) -> Result<Option<u16>> {
        let number = self.number(model)?;
        match model.classes() {
            Some(classes) if number.is_none() => Err(Error::config(format!(
                "the model is conditional on a class, and latents do not say which: add --label CLASS, one of {}",
                classes.listed()
            ))),
            _ => Ok(number),
        }
    }
}

/// What the nets of a model compute in.
#[derive(Debug, Args)]
pub struct NetPrecision {
    /// Let the nets compute in float32, tf32 or bfloat16 [default: as in training]
    #[arg(long, value_name = "X", value_parser = values::precision(), hide_possible_values = true)]
    pub precision: Option<Precision>,
}

/// A file of a `RUN|FILE` argument, and what model it holds if it or the flags say so.
pub struct Opened {
    /// The file.
    pub file: StateFile,
    /// What the run was made of.
    pub config: Option<RunConfig>,
}

/// Opens a `RUN|FILE` argument; which file of a run was taken is reported on standard error.
pub fn open(path: &Path, described: &Described) -> Result<Opened> {
    let found = find_checkpoint(path)?;
    let mut file = StateFile::open(&found)?;
    if let Some(key) = &described.key {
        file.choose(key)?;
    }
    if let Some(prefix) = &described.prefix {
        file.below(prefix)?;
    }
    let stored = stored_config(&file)?;
    if stored.is_some() && described.is_given() {
        return Err(Error::config(format!(
            "{}: says itself what model it holds: leave --preset and --config out",
            found.display()
        )));
    }
    if let (true, Some(progress)) = (found != path, stored_progress(&file)?) {
        eprintln!(
            "using {} (step {}, epoch {})",
            found.display(),
            progress.step,
            progress.epoch
        );
    }
    let config = match stored {
        None if described.is_given() => Some(described.resolve()?),
        stored => stored,
    };
    Ok(Opened { file, config })
}

/// A model with the content of a file.
pub struct Loaded {
    /// What the run was made of, but for a precision that was asked for.
    pub config: RunConfig,
    /// What the nets computed in during training.
    pub trained_in: Precision,
    /// The model.
    pub model: MultiScale,
    /// Its variables.
    pub vs: VarStore,
}

impl Loaded {
    /// What to say about the precision of the nets, if it is not float32 as in training.
    pub fn precision(&self) -> Option<String> {
        let (used, trained) = (self.config.precision, self.trained_in);
        if used != trained {
            return Some(format!(
                "nets in {used} instead of {trained}, which they were trained in: another density"
            ));
        }
        (used != Precision::Float32).then(|| format!("nets in {used}, as in training"))
    }
}

/// Loads the model of a `RUN|FILE` argument; what its precision means on `device` is said on standard error.
pub fn load(
    path: &Path,
    described: &Described,
    precision: &NetPrecision,
    device: Device,
) -> Result<Loaded> {
    let Opened { file, config } = open(path, described)?;
    match config {
        Some(mut config) => {
            let trained_in = config.precision;
            config.precision = precision.precision.unwrap_or(trained_in);
            if let Some(remark) = config.precision.remark(device) {
                eprintln!("precision: {remark}");
            }
            Ok(Loaded {
                trained_in,
                ..fill(&file, config, device)?
            })
        }
        None => Err(Error::file(
            file.path(),
            file.nothing().unwrap_or("does not say what model it holds: add --preset P or --config F; `inverse-flow inspect FILE` lists what is in it"),
        )),
    }
}

/// [`load`] for several processes: rank 0 reads the file and sends what is in it to the others.
pub fn load_in(
    team: &Team,
    path: &Path,
    described: &Described,
    precision: &NetPrecision,
    device: Device,
) -> Result<Loaded> {
    let mut loaded = None;
    let (config, trained_in) = team.from_main(|| {
        let read = loaded.insert(load(path, described, precision, device)?);
        Ok((read.config.clone(), read.trained_in))
    })?;
    let loaded = match loaded {
        Some(loaded) => loaded,
        None => {
            let (model, vs) = build_model(&config, device)?;
            Loaded {
                config,
                trained_in,
                model,
                vs,
            }
        }
    };
    team.share(loaded.vs.variables())?;
    Ok(loaded)
}

/// A model of this configuration with the content of a file; what was decided on the way is said on standard error.
pub fn fill(file: &StateFile, config: RunConfig, device: Device) -> Result<Loaded> {
    let (model, vs) = build_model(&config, device)?;
    let report = load_into(file, &model, &vs)?;
    for remark in report.remarks {
        eprintln!("weights: {remark}");
    }
    Ok(Loaded {
        trained_in: config.precision,
        config,
        model,
        vs,
    })
}

/// Number of trainable and of other scalars in a store.
pub fn scalars(vs: &VarStore) -> (usize, usize) {
    let (mut params, mut buffers) = (0, 0);
    for tensor in vs.variables().values() {
        if tensor.requires_grad() {
            params += tensor.numel();
        } else {
            buffers += tensor.numel();
        }
    }
    (params, buffers)
}
