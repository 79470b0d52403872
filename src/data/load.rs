//! From a configuration to images in memory.

use super::own::Packing;
use super::{
    cifar10, glyphs, mnist, noise, own, DataConfig, DataName, Dataset, Source, Split, Splits,
};
use crate::phase::{self, Phase};
use crate::{Error, Result};
use std::path::Path;

/// All three splits.
///
/// `seed` decides what `glyphs` and noise draw and has no effect on the other data sets.
///
/// # Errors
/// As [`load_split`]; files of one's own may have no test images.
pub fn load(config: &DataConfig, seed: u64) -> Result<Splits> {
    phase::enter(Phase::Data);
    let all = Split::ALL;
    let (splits, fingerprint, remarks) = match &config.name {
        Source::Known(name) => {
            let splits = all.map(|split| known(config, *name, seed, split));
            (splits.into_iter().collect::<Result<_>>()?, None, Vec::new())
        }
        Source::Own(path) => {
            config.check()?;
            let loaded = own::load(path, config, &all)?;
            (loaded.splits, Some(loaded.fingerprint), loaded.remarks)
        }
    };
    let [train, val, test] = <[Dataset; 3]>::try_from(splits)
        .map_err(|_| Error::config("a data set has three splits"))?;
    Ok(Splits {
        train,
        val,
        test,
        fingerprint,
        remarks,
    })
}

/// One split; reads only the files that hold it.
///
/// # Errors
/// A limit of 0, or a file that is missing or not what it should be.
pub fn load_split(config: &DataConfig, seed: u64, split: Split) -> Result<Dataset> {
    phase::enter(Phase::Data);
    match &config.name {
        Source::Known(name) => known(config, *name, seed, split),
        Source::Own(path) => {
            config.check()?;
            let mut loaded = own::load(path, config, &[split])?;
            let split = loaded.splits.pop();
            split.ok_or_else(|| Error::file(path, "has no such split"))
        }
    }
}

/// The picture of a file as a data set of one image, which is brought to the size of the configuration.
///
/// # Errors
/// A file that is no picture, or of another size.
#[cfg(feature = "pictures")]
pub fn load_picture(path: &Path, config: &DataConfig) -> Result<Dataset> {
    let (chw, pixels) = own::picture(path, config)?;
    let data = Dataset::new(path.display().to_string(), chw, pixels, vec![0])?;
    match config.pad {
        Some(size) => data.padded(size, config.background),
        None => Ok(data),
    }
}

/// Writes all splits into one file, which later runs read as they need it: they start at once, and memory need not hold the
/// images. The file is itself data of one's own, and other programs read it as safetensors.
///
/// # Errors
/// As [`load`], or the file cannot be written.
pub fn pack(config: &DataConfig, seed: u64, out: &Path) -> Result<Packing> {
    if let Source::Own(path) = &config.name {
        config.check()?;
        if let Some(packing) = own::pack_folder(path, config, out)? {
            return Ok(packing);
        }
    }
    let splits = load(config, seed)?;
    own::pack_splits(
        &[&splits.train, &splits.val, &splits.test],
        splits.remarks,
        out,
    )
}

/// `[C, H, W]` of the images that a configuration stands for.
///
/// # Errors
/// Files of one's own that cannot be read, or images that are larger than they are padded to.
pub fn image_shape(config: &DataConfig) -> Result<[i64; 3]> {
    let chw = match &config.name {
        Source::Known(name) => name.chw(),
        Source::Own(path) => own::image_shape(path, config)?,
    };
    Ok(match config.pad {
        Some([h, w]) => [chw[0], h, w],
        None => chw,
    })
}

fn known(config: &DataConfig, name: DataName, seed: u64, split: Split) -> Result<Dataset> {
    config.check()?;
    if config.image.is_some_and(|image| image != name.chw()) {
        return Err(Error::config(format!(
            "{name} has images of {}: only pictures of one's own are brought to another --image; --pad gives them a border",
            super::fit::size_text(name.chw())
        )));
    }
    let data = match name {
        DataName::Glyphs => glyphs::load(seed, split, config.limit),
        DataName::Mnist => mnist::load(&config.dir, split, config.limit),
        DataName::Cifar10 => cifar10::load(&config.dir, split, config.limit),
        DataName::Noise(_) => noise::load(name, seed, split, config.limit),
    }
    .map_err(|err| with_way_out(config, name, err))?;
    let data = data.with_classes(name.classes());
    match config.pad {
        Some(size) => data.padded(size, config.background),
        None => Ok(data),
    }
}

/// Adds to a problem with a file what to do about it.
fn with_way_out(config: &DataConfig, name: DataName, err: Error) -> Error {
    let Error::File { path, problem } = err else {
        return err;
    };
    let dir = config.dir.display();
    Error::file(
        path,
        format!("{problem}\n`inverse-flow data verify {name} --data-dir {dir}` checks all files, `inverse-flow data fetch {name} --data-dir {dir}` gets them"),
    )
}
