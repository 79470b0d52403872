//! Which images a command that reads a model gets, as flags.

use super::pictures::Pictures;
use super::values;
use crate::data::{self, DataConfig, Dataset, Source, Split};
use crate::train::{check_classes, RunConfig};
use crate::Result;
use clap::Args;
use std::path::{Path, PathBuf};

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

/// How the images of a source that is named in the command are read.
#[derive(Debug, Args)]
pub struct SourceImages {
    #[command(flatten)]
    pictures: Pictures,
    /// Folder of the data sets that are known by name [default: that of the run]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Part of the data: train, val or test [default: test; all images of a source of your own that is not split]
    #[arg(long, value_name = "SPLIT")]
    split: Option<Split>,
}

impl SourceImages {
    /// The images of a source, all or the first `limit`, of the split that was asked for.
    pub fn load(&self, run: &RunConfig, source: &Source, limit: Option<usize>) -> Result<Dataset> {
        self.load_split(run, source, self.split, limit)
    }

    /// The images of a source that the model of a run learns from, all or the first `limit`.
    pub fn load_train(
        &self,
        run: &RunConfig,
        source: &Source,
        limit: Option<usize>,
    ) -> Result<Dataset> {
        let split = source.known().map(|_| Split::Train);
        self.load_split(run, source, split, limit)
    }

    /// Those of a split, by default the test images of a data set that is known by name, and all images of a source that is
    /// not split.
    fn load_split(
        &self,
        run: &RunConfig,
        source: &Source,
        split: Option<Split>,
        limit: Option<usize>,
    ) -> Result<Dataset> {
        let mut config = DataConfig {
            limit,
            ..self.config(run, source)
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

    /// How the images of a source are brought to what the model of a run takes.
    pub fn config(&self, run: &RunConfig, source: &Source) -> DataConfig {
        let known = matches!(source, Source::Known(_));
        let dir = self.data_dir.as_deref().filter(|_| known);
        images_of(run, Some(source), &self.pictures, dir)
    }

    /// The training images of a run itself, the first `most` at most.
    pub fn load_of_run(&self, run: &RunConfig, most: usize) -> Result<Dataset> {
        let mut config = DataConfig {
            limit: Some(run.data.limit.unwrap_or(most).min(most)),
            ..run.data.clone()
        };
        if let (Source::Known(_), Some(dir)) = (&config.name, &self.data_dir) {
            move_to(&mut config, dir);
        }
        data::load_split(&config, run.seed, Split::Train)
    }
}

/// Which images a model gets: those of its run, or another source, brought to its size.
fn images_of(
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

/// Says where the files of a data set are now: the folder of those that are known by name, or files of one's own.
pub fn move_to(config: &mut DataConfig, dir: &Path) {
    match &mut config.name {
        Source::Known(_) => config.dir = dir.to_path_buf(),
        Source::Own(path) => {
            *path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        }
    }
}
