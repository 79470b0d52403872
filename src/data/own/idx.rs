//! IDX files of any count and size, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST.
//!
//! From the file of the training images the others are found by their names: `images` is `labels` in the name of the labels,
//! `train` is `t10k`, `test` or `val` in those of the other splits.

use super::bytes::read_file;
use super::found::{Found, Images};
use super::layout::{Array, Numbers};
use crate::words::counted;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Whether bytes are those of an IDX file of unsigned bytes.
pub(super) fn is_idx(head: &[u8]) -> bool {
    matches!(head, [0, 0, 8, 1..=4, ..])
}

/// The array of an IDX file.
fn read(path: &Path) -> Result<Array> {
    let bytes = read_file(path)?;
    let wrong = |problem: String| Error::file(path, problem);
    if !is_idx(&bytes) {
        return Err(wrong("is no IDX file of unsigned bytes".into()));
    }
    let dimensions = usize::from(bytes[3]);
    let header = 4 * (1 + dimensions);
    let words = bytes
        .get(4..header)
        .ok_or_else(|| wrong("truncated IDX header".into()))?;
    let shape: Vec<usize> = words
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize)
        .collect();
    let expected = shape
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(size));
    let found = bytes.len() - header;
    if expected != Some(found) {
        return Err(wrong(format!(
            "{}: its header speaks of {shape:?}, which are {}, and it has {found}",
            if expected.is_none_or(|expected| found < expected) {
                "truncated"
            } else {
                "too long"
            },
            expected.map_or("too many bytes".to_owned(), |bytes| counted(bytes, "byte")),
        )));
    }
    Ok(Array {
        shape,
        numbers: Numbers::Bytes(bytes[header..].to_vec()),
    })
}

/// The file of the training images in a folder, `None` if it has no file with such a name.
///
/// # Errors
/// Several of them, as in EMNIST's folder.
pub(super) fn images_in(folder: &Path) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|err| Error::file(folder, err))?;
    let mut all: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| name_of(path).is_some_and(is_images_name) && path.is_file())
        .collect();
    all.sort();
    // a file and its packed form are one
    all.dedup_by(|later, earlier| name_of(later).map(plain) == name_of(earlier).map(plain));
    let train: Vec<&PathBuf> = all
        .iter()
        .filter(|path| name_of(path).is_some_and(|name| name.contains("train")))
        .collect();
    match (&train[..], &all[..]) {
        ([one], _) => Ok(Some((*one).clone())),
        ([], [one]) => Ok(Some(one.clone())),
        ([], []) => Ok(None),
        _ => {
            let names: Vec<_> = all.iter().filter_map(|path| name_of(path)).collect();
            Err(Error::file(
                folder,
                format!(
                    "holds several data sets: give one file of images to --data, of {}",
                    names.join(", ")
                ),
            ))
        }
    }
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn plain(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

fn is_images_name(name: &str) -> bool {
    let name = plain(name);
    name.contains("images")
        && (name.contains("idx3") || name.contains("idx4") || name.ends_with("ubyte"))
}

/// The file beside `path` whose name has `to` for `from`, packed or not.
fn beside(path: &Path, changes: &[(&str, &str)]) -> Option<PathBuf> {
    let mut name = plain(name_of(path)?).to_owned();
    for (from, to) in changes {
        let at = name.rfind(from)?;
        name.replace_range(at..at + from.len(), to);
    }
    [name.clone(), format!("{name}.gz")]
        .into_iter()
        .map(|name| path.with_file_name(name))
        .find(|path| path.is_file())
}

/// A pair of files.
fn pair(images: &Path) -> Result<Images> {
    let array = read(images)?;
    let mut found = array
        .images()
        .map_err(|problem| Error::file(images, problem))?;
    let labels = beside(images, &[("images", "labels"), ("idx3", "idx1")])
        .or_else(|| beside(images, &[("images", "labels"), ("idx4", "idx1")]))
        .or_else(|| beside(images, &[("images", "labels")]));
    if let Some(labels) = labels {
        let array = read(&labels)?;
        let count = found.labels.len();
        found.labels = array.labels(count).ok_or_else(|| {
            let problem = format!(
                "has the shape {:?}, and there are {}",
                array.shape,
                counted(count, "image")
            );
            Error::file(&labels, problem)
        })?;
    }
    Ok(found)
}

/// What the file `path` of images holds, with its labels and the other splits beside it.
pub(super) fn found(path: &Path) -> Result<Found> {
    let train = pair(path)?;
    let split = |words: [&str; 2]| -> Result<Option<Images>> {
        let file = words
            .iter()
            .find_map(|word| beside(path, &[("train", word)]));
        let Some(file) = file else {
            return Ok(None);
        };
        let images = pair(&file)?;
        if images.chw != train.chw {
            return Err(Error::file(
                &file,
                format!(
                    "has images of {:?}, the training images are {:?}",
                    images.chw, train.chw
                ),
            ));
        }
        Ok(Some(images))
    };
    let (val, test) = (split(["val", "valid"])?, split(["t10k", "test"])?);
    Ok(Found {
        train,
        val,
        test,
        classes: Vec::new(),
    })
}
