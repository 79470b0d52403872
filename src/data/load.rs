//! From a configuration to images in memory.

use super::{cifar10, glyphs, mnist, noise, DataConfig, DataName, Dataset, Split, Splits};
use crate::{Error, Result};

/// All three splits.
///
/// `seed` decides what `glyphs` and noise draw and has no effect on the other data sets.
///
/// # Errors
/// As [`load_split`].
pub fn load(config: &DataConfig, seed: u64) -> Result<Splits> {
    Ok(Splits {
        train: load_split(config, seed, Split::Train)?,
        val: load_split(config, seed, Split::Val)?,
        test: load_split(config, seed, Split::Test)?,
    })
}

/// One split; reads only the files that hold it.
///
/// # Errors
/// A limit of 0, or a file that is missing or not what it should be.
pub fn load_split(config: &DataConfig, seed: u64, split: Split) -> Result<Dataset> {
    if config.limit == Some(0) {
        return Err(Error::config(
            "a limit of 0 images leaves no data: use --limit 1 or more",
        ));
    }
    match config.name {
        DataName::Glyphs => glyphs::load(seed, split, config.limit),
        DataName::Mnist => mnist::load(&config.dir, split, config.limit),
        DataName::Cifar10 => cifar10::load(&config.dir, split, config.limit),
        DataName::Noise(_) => noise::load(config.name, seed, split, config.limit),
    }
    .map_err(|err| with_way_out(config, err))
}

/// Adds to a problem with a file what to do about it.
fn with_way_out(config: &DataConfig, err: Error) -> Error {
    let Error::File { path, problem } = err else {
        return err;
    };
    let (name, dir) = (config.name, config.dir.display());
    Error::file(
        path,
        format!("{problem}\n`inverse-flow data verify {name} --data-dir {dir}` checks all files, `inverse-flow data fetch {name} --data-dir {dir}` gets them"),
    )
}
