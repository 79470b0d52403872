//! Folders of pictures.
//!
//! | file | what it holds |
//! |---|---|
//! | `list` | which pictures there are, their classes, splits and hashes |
//! | `decode` | from the bytes of a file to an image of the wanted size |
//! | `jpeg` | whether a JPEG is whole |
//! | `load`, `survey` | splits in memory, or in one packed file; what all pictures are, by themselves |

mod decode;
mod jpeg;
mod list;
mod load;
mod survey;

pub(super) use list::has_pictures;
pub(super) use load::{load, pack, shape};
pub(super) use survey::survey;

use crate::data::fit::size_text;
use crate::data::parallel::in_parallel;
use crate::data::DataConfig;
use crate::{Error, Result};
use decode::{Problem, Wanted};
use list::Entry;
use std::fs;
use std::path::{Path, PathBuf};

/// What the pictures of a folder are brought to: what the configuration says, else the size of the first that can be read.
fn wanted(root: &Path, config: &DataConfig) -> Result<Wanted> {
    let of = |chw, any_colour| Wanted {
        chw,
        any_colour,
        fit: config.fit,
        background: config.background,
    };
    if let Some(chw) = config.image {
        return Ok(of(chw, true));
    }
    for path in list::paths(root)? {
        match decode::decode(&content(&path)?) {
            Ok(picture) => return Ok(of(decode::natural(&picture), false)),
            Err(_) if config.skip_damaged => {}
            Err(problem) => return Err(damaged(&path, &problem)),
        }
    }
    Err(Error::file(root, "has no picture that can be read"))
}

/// The image in a file.
///
/// # Errors
/// A file that cannot be opened.
fn image(path: &Path, wanted: &Wanted) -> Result<Result<Vec<u8>, Problem>> {
    let picture = decode::decode(&content(path)?).map_err(Problem::Damaged);
    Ok(picture.and_then(|picture| decode::fitted(picture, wanted)))
}

/// The bytes of one picture, brought to the `[C, H, W]` of the configuration, or as it is.
///
/// # Errors
/// A file that is no picture, or of another size.
pub(crate) fn picture(path: &Path, config: &DataConfig) -> Result<([i64; 3], Vec<u8>)> {
    let decoded = decode::decode(&content(path)?).map_err(|problem| Error::file(path, problem))?;
    let wanted = Wanted {
        chw: config.image.unwrap_or(decode::natural(&decoded)),
        any_colour: true,
        fit: config.fit,
        background: config.background,
    };
    match decode::fitted(decoded, &wanted) {
        Ok(pixels) => Ok((wanted.chw, pixels)),
        Err(Problem::Damaged(problem)) => Err(Error::file(path, problem)),
        Err(Problem::Size(size, way)) => Err(Error::file(
            path,
            format!(
                "is {}, and images are {}: --fit {way} brings it to that size",
                size_text(size),
                size_text(wanted.chw)
            ),
        )),
    }
}

/// A file that was left out, and why.
type Skipped = (PathBuf, String);

/// Images side by side, with their labels and where they are from.
struct Images<'a> {
    pixels: Vec<u8>,
    labels: Vec<u16>,
    paths: Vec<&'a Path>,
}

/// The images of `entries`; what is damaged is left out and told of, or an error.
fn images<'a>(
    entries: &[&'a Entry],
    wanted: &Wanted,
    skip_damaged: bool,
    skipped: &mut Vec<Skipped>,
) -> Result<Images<'a>> {
    let decoded = in_parallel(entries, |entry| match image(&entry.path, wanted)? {
        Ok(pixels) => Ok(Ok(pixels)),
        Err(Problem::Damaged(problem)) if skip_damaged => Ok(Err(problem)),
        Err(Problem::Damaged(problem)) => Err(damaged(&entry.path, &problem)),
        Err(Problem::Size(size, way)) => Err(other_size(&entry.path, size, wanted, way)),
    })?;
    let size = wanted.chw.iter().product::<i64>() as usize;
    let mut images = Images {
        pixels: Vec::with_capacity(entries.len() * size),
        labels: Vec::with_capacity(entries.len()),
        paths: Vec::with_capacity(entries.len()),
    };
    for (entry, image) in entries.iter().zip(decoded) {
        match image {
            Ok(image) => {
                images.pixels.extend(image);
                images.labels.push(entry.label);
                images.paths.push(&entry.path);
            }
            Err(problem) => skipped.push((entry.path.clone(), problem)),
        }
    }
    Ok(images)
}

fn content(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|err| Error::file(path, err))
}

fn damaged(path: &Path, problem: &str) -> Error {
    Error::file(
        path,
        format!("{problem}\n--skip-damaged goes on without such files, and counts them"),
    )
}

fn other_size(path: &Path, found: [i64; 3], wanted: &Wanted, way: &str) -> Error {
    let [found, size] = [found, wanted.chw].map(size_text);
    Error::file(
        path,
        format!("is {found}, and images are {size}\n`--image {size} --fit {way}` brings all pictures to one size"),
    )
}
