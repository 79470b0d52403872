//! Files of one's own: what lies at a path, and its images.
//!
//! | file | what it reads |
//! |---|---|
//! | `pictures/` | folders of pictures |
//! | `npy`, `named`, `layout` | `.npy`; `.npz` and `.safetensors`; from the shape of an array to images |
//! | `idx` | IDX files of any count and size |
//! | `cifar`, `pickled` | CIFAR-10 and CIFAR-100, binary or pickled |
//! | `packed`, `pack` | one file with all images, which is read as they are needed; writes it |
//! | `found` | what a source holds, its splits and its fingerprint |
//! | `bytes` | whole files, unpacked |

mod bytes;
mod cifar;
mod found;
mod idx;
mod layout;
mod named;
mod npy;
mod pack;
mod packed;
mod pickled;
#[cfg(feature = "pictures")]
mod pictures;

use super::{DataConfig, Dataset, Split, Survey};
use crate::{Error, Result};
pub use found::Packing;
use found::{not_empty, Found, Loaded};
use packed::Packed;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where torchvision and archives put a data set below the folder that they are given.
const BELOW: [&str; 4] = [
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "cifar-100-binary",
    "cifar-100-python",
];

/// What lies at a path.
enum Opened {
    Arrays(Found),
    Packed(Packed),
    Pictures,
}

/// Packs a folder of pictures into the file `out`, a few at a time; `None` if the source is another one.
///
/// # Errors
/// As [`load`], or the file cannot be written.
pub(super) fn pack_folder(path: &Path, config: &DataConfig, out: &Path) -> Result<Option<Packing>> {
    match open(path)? {
        Opened::Pictures => pack_pictures(path, config, out).map(Some),
        Opened::Arrays(_) | Opened::Packed(_) => Ok(None),
    }
}

/// Looks at all pictures of a folder; `None` if the source is another one.
///
/// # Errors
/// As [`load`].
pub(super) fn survey_folder(path: &Path, config: &DataConfig) -> Result<Option<Survey>> {
    match open(path)? {
        Opened::Pictures => survey_pictures(path, config).map(Some),
        Opened::Arrays(_) | Opened::Packed(_) => Ok(None),
    }
}

/// What a source is; of a packed file, all bytes are compared with their hash.
///
/// # Errors
/// As [`load`], or a packed file that is damaged.
pub(super) fn check(path: &Path) -> Result<&'static str> {
    match open(path)? {
        Opened::Pictures => Ok("folder of pictures"),
        Opened::Arrays(_) => Ok("set of arrays"),
        Opened::Packed(packed) => {
            packed.check()?;
            Ok("packed file, whole by its fingerprint")
        }
    }
}

/// Packs splits that are there already into the file `out`.
///
/// # Errors
/// As [`load`], or the file cannot be written.
pub(super) fn pack_splits(
    splits: &[&Dataset; 3],
    remarks: Vec<String>,
    out: &Path,
) -> Result<Packing> {
    let [train, ..] = splits;
    let mut counts = [0; 3];
    pack::pack(out, train.chw, &train.classes, |packer| {
        for ((count, data), split) in counts.iter_mut().zip(splits).zip(Split::ALL) {
            *count = packer.data_set(split, data)?;
        }
        Ok(())
    })?;
    Ok(Packing {
        chw: train.chw,
        counts,
        remarks,
    })
}

/// Loads splits of a source.
///
/// # Errors
/// Nothing there, nothing that is known, or what is wrong with it.
pub(super) fn load(path: &Path, config: &DataConfig, wanted: &[Split]) -> Result<Loaded> {
    let mut loaded = match open(path)? {
        Opened::Arrays(found) => arrays(path, &found, config, wanted)?,
        Opened::Packed(packed) => {
            fixed_size(path, packed.chw(), config)?;
            if config.pad.is_some_and(|size| size != packed.chw()[1..]) {
                return Err(Error::file(
                    path,
                    "is packed: pack the source again, with --pad there",
                ));
            }
            Loaded {
                splits: wanted
                    .iter()
                    .map(|split| packed.split(*split))
                    .collect::<Result<_>>()?,
                fingerprint: packed.fingerprint().to_owned(),
                remarks: Vec::new(),
            }
        }
        Opened::Pictures => of_pictures(path, config, wanted)?,
    };
    if let Some(then) = config
        .fingerprint
        .as_ref()
        .filter(|then| **then != loaded.fingerprint)
    {
        return Err(Error::file(
            path,
            format!(
                "has changed since the run began (then {then}, now {}): put the old files back, start a new run, or give it other \
                 data by name",
                loaded.fingerprint
            ),
        ));
    }
    let splits = std::mem::take(&mut loaded.splits).into_iter().zip(wanted);
    loaded.splits = splits
        .map(|(data, split)| {
            let data = match config.limit {
                Some(limit) => data.subset(0..limit),
                None => data,
            };
            let data = match config.pad {
                Some(size) => data.padded(size, config.background)?,
                None => data,
            };
            // a run can do without a test split
            match split {
                Split::Test if wanted.len() > 1 => Ok(data),
                _ => not_empty(path, data, *split),
            }
        })
        .collect::<Result<_>>()?;
    Ok(loaded)
}

/// `[C, H, W]` of the images of a source, before they are padded.
///
/// # Errors
/// As [`load`].
pub(super) fn image_shape(path: &Path, config: &DataConfig) -> Result<[i64; 3]> {
    let chw = match open(path)? {
        Opened::Arrays(found) => found.train.chw,
        Opened::Packed(packed) => packed.chw(),
        Opened::Pictures => return picture_shape(path, config),
    };
    fixed_size(path, chw, config)?;
    Ok(chw)
}

fn arrays(path: &Path, found: &Found, config: &DataConfig, wanted: &[Split]) -> Result<Loaded> {
    fixed_size(path, found.train.chw, config)?;
    let splits = wanted
        .iter()
        .map(|split| found.split(path, *split, config.val_fraction));
    Ok(Loaded {
        splits: splits.collect::<Result<_>>()?,
        fingerprint: found.fingerprint(),
        remarks: Vec::new(),
    })
}

/// Refuses another size for images whose size is given.
fn fixed_size(path: &Path, chw: [i64; 3], config: &DataConfig) -> Result<()> {
    match config.image {
        Some(image) if image != chw => {
            let [image, chw] = [image, chw].map(super::fit::size_text);
            Err(Error::file(
                path,
                format!("has images of {chw}, not {image}: only pictures are brought to another --image; --pad gives arrays a border"),
            ))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<Opened> {
    let about = fs::metadata(path).map_err(|err| Error::file(path, err))?;
    if about.is_dir() {
        return folder(path);
    }
    let wrong = |problem: String| Error::file(path, problem);
    let head = bytes::head(path, 16)?;
    if let Some(packed) = Packed::open(path)? {
        return Ok(Opened::Packed(packed));
    }
    let found = if head.starts_with(npy::MAGIC) {
        let array = npy::read(&bytes::read_file(path)?).map_err(wrong)?;
        named::found(BTreeMap::from([("the array".to_owned(), array)])).map_err(wrong)?
    } else if head.starts_with(b"PK\x03\x04") {
        let file = File::open(path).map_err(|err| Error::file(path, err))?;
        named::found(named::npz(file).map_err(wrong)?).map_err(wrong)?
    } else if head.get(8) == Some(&b'{') {
        let arrays = named::safetensors(&bytes::read_file(path)?).map_err(wrong)?;
        named::found(arrays).map_err(wrong)?
    } else if idx::is_idx(&head) {
        idx::found(path)?
    } else {
        return Err(wrong(
            "is no data set: folders of pictures, .npy, .npz, .safetensors, IDX files and CIFAR folders are read (docs/data.md)".into(),
        ));
    };
    Ok(Opened::Arrays(found))
}

fn folder(path: &Path) -> Result<Opened> {
    if let Some(found) = layout_in(path)? {
        return Ok(Opened::Arrays(found));
    }
    #[cfg(feature = "pictures")]
    if pictures::has_pictures(path)? {
        return Ok(Opened::Pictures);
    }
    let mut inside: Vec<PathBuf> = BELOW.iter().map(|name| path.join(name)).collect();
    inside.push(path.join("raw"));
    let entries = fs::read_dir(path).map_err(|err| Error::file(path, err))?;
    let mut raw: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("raw"))
        .collect();
    raw.sort();
    inside.extend(raw);
    let mut sets = Vec::new();
    for folder in inside.into_iter().filter(|folder| folder.is_dir()) {
        if let Some(found) = layout_in(&folder)? {
            sets.push((folder, found));
        }
    }
    let names: Vec<String> = sets
        .iter()
        .map(|(folder, _)| folder.display().to_string())
        .collect();
    match sets.pop() {
        Some((_, found)) if sets.is_empty() => Ok(Opened::Arrays(found)),
        Some(_) => Err(Error::file(
            path,
            format!(
                "holds several data sets: give one of them to --data, {}",
                names.join(" or ")
            ),
        )),
        // the error about a folder without pictures says what may be there
        None => Ok(Opened::Pictures),
    }
}

/// The images of a folder in a layout that is known by the names of its files.
fn layout_in(folder: &Path) -> Result<Option<Found>> {
    if let Some(found) = cifar::found(folder)? {
        return Ok(Some(found));
    }
    idx::images_in(folder)?
        .map(|images| idx::found(&images))
        .transpose()
}

#[cfg(feature = "pictures")]
pub(super) use pictures::picture;
#[cfg(feature = "pictures")]
use pictures::{
    load as of_pictures, pack as pack_pictures, shape as picture_shape, survey as survey_pictures,
};

#[cfg(not(feature = "pictures"))]
fn picture_shape(path: &Path, _: &DataConfig) -> Result<[i64; 3]> {
    Err(without_pictures(path))
}

#[cfg(not(feature = "pictures"))]
fn of_pictures(path: &Path, _: &DataConfig, _: &[Split]) -> Result<Loaded> {
    Err(without_pictures(path))
}

#[cfg(not(feature = "pictures"))]
fn pack_pictures(path: &Path, _: &DataConfig, _: &Path) -> Result<Packing> {
    Err(without_pictures(path))
}

#[cfg(not(feature = "pictures"))]
fn survey_pictures(path: &Path, _: &DataConfig) -> Result<Survey> {
    Err(without_pictures(path))
}

#[cfg(not(feature = "pictures"))]
fn without_pictures(path: &Path) -> Error {
    Error::file(
        path,
        "folders of pictures need the feature `pictures`, without which this was built",
    )
}
