//! The pictures below a folder: their names, classes, splits, and the hashes of their contents.

use crate::data::own::found::{short, Carved};
use crate::data::parallel::in_parallel;
use crate::data::Split;
use crate::words::counted;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Endings of the names of pictures.
const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"];

/// What a folder is called that holds one split, and which.
const SPLITS: [(&str, Split); 6] = [
    ("train", Split::Train),
    ("training", Split::Train),
    ("val", Split::Val),
    ("valid", Split::Val),
    ("validation", Split::Val),
    ("test", Split::Test),
];

/// One picture.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub path: PathBuf,
    pub label: u16,
    pub split: Split,
}

/// The pictures of a folder.
#[derive(Debug)]
pub(crate) struct Listing {
    /// In the order of their paths, byte by byte.
    pub entries: Vec<Entry>,
    pub classes: Vec<String>,
    /// What all of it is, in one short text.
    pub fingerprint: String,
}

impl Listing {
    /// The pictures of a split, at most the first `limit`.
    pub(crate) fn of(&self, split: Split, limit: Option<usize>) -> Vec<&Entry> {
        let entries = self.entries.iter().filter(|entry| entry.split == split);
        entries.take(limit.unwrap_or(usize::MAX)).collect()
    }
}

/// Whether a folder has a picture in it or below it.
pub(crate) fn has_pictures(root: &Path) -> Result<bool> {
    Ok(!walk(root)?.0.is_empty())
}

/// The pictures of a folder, in their order.
pub(super) fn paths(root: &Path) -> Result<Vec<PathBuf>> {
    let (paths, others) = walk(root)?;
    if paths.is_empty() {
        return Err(none_in(root, others));
    }
    Ok(paths)
}

/// Reads every file once, for its hash.
pub(crate) fn list(root: &Path, val_fraction: f64) -> Result<Listing> {
    let paths = paths(root)?;
    let inside: Vec<Vec<String>> = paths.iter().map(|path| below(root, path)).collect();
    let split_by_folders = inside
        .iter()
        .all(|parts| parts.len() > 1 && split_of(&parts[0]).is_some())
        && inside
            .iter()
            .any(|parts| split_of(&parts[0]) == Some(Split::Train));
    let depth = usize::from(split_by_folders);
    let class_of = |parts: &Vec<String>| (parts.len() > depth + 1).then(|| parts[depth].clone());
    let classes: BTreeSet<String> = inside.iter().filter_map(class_of).collect();
    let all_have = inside.iter().all(|parts| class_of(parts).is_some());
    let classes: Vec<String> = match all_have {
        true => classes.into_iter().collect(),
        false => Vec::new(),
    };
    if classes.len() > usize::from(u16::MAX) {
        let count = counted(classes.len(), "class");
        return Err(Error::file(
            root,
            format!("has {count}; at most {} are told apart", u16::MAX),
        ));
    }
    let given = |split| {
        split_by_folders
            && inside
                .iter()
                .any(|parts| split_of(&parts[0]) == Some(split))
    };
    let carved = Carved {
        val: !given(Split::Val),
        test: !given(Split::Val) && !given(Split::Test),
        fraction: val_fraction,
    };
    let hashes = in_parallel(&paths, |path| {
        let content = fs::read(path).map_err(|err| Error::file(path, err))?;
        Ok::<[u8; 32], Error>(Sha256::digest(content).into())
    })?;
    let mut all = Sha256::new();
    let mut entries = Vec::with_capacity(paths.len());
    for ((path, parts), hash) in paths.into_iter().zip(&inside).zip(hashes) {
        all.update(parts.join("/"));
        all.update([0]);
        all.update(hash);
        let by_folder = split_by_folders.then(|| split_of(&parts[0])).flatten();
        let class = class_of(parts).and_then(|class| classes.binary_search(&class).ok());
        entries.push(Entry {
            path,
            label: class.unwrap_or(0) as u16,
            split: match by_folder {
                Some(split @ (Split::Val | Split::Test)) => split,
                _ => carved.split(&hash),
            },
        });
    }
    Ok(Listing {
        entries,
        classes,
        fingerprint: short(all),
    })
}

fn split_of(folder: &str) -> Option<Split> {
    let folder = folder.to_lowercase();
    let mut known = SPLITS.iter();
    known.find_map(|(name, split)| (*name == folder).then_some(*split))
}

fn none_in(root: &Path, others: usize) -> Error {
    Error::file(
        root,
        format!(
            "has no pictures in it or below it ({} of other kinds): PNG, JPEG, WebP, BMP and TIFF files are read, and arrays and \
             data sets in the layouts of docs/data.md",
            counted(others, "file")
        ),
    )
}

/// The parts of a path below `root`.
pub(super) fn below(root: &Path, path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect()
}

/// All pictures in and below a folder, sorted, and how many other files there are. What is hidden is left out.
fn walk(root: &Path) -> Result<(Vec<PathBuf>, usize)> {
    let (mut pictures, mut others) = (Vec::new(), 0);
    let (mut folders, mut seen) = (vec![root.to_path_buf()], HashSet::new());
    while let Some(folder) = folders.pop() {
        let failed = |err: std::io::Error| Error::file(&folder, err);
        // a link to a folder above would lead in a circle
        if !seen.insert(folder.canonicalize().map_err(failed)?) {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let ending = path
                .extension()
                .map(|ending| ending.to_string_lossy().to_lowercase());
            if path.is_dir() {
                folders.push(path);
            } else if ending.is_some_and(|ending| ENDINGS.contains(&&*ending)) {
                pictures.push(path);
            } else {
                others += 1;
            }
        }
    }
    pictures.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok((pictures, others))
}
