//! All pictures of a folder, each looked at by itself.

use super::load::left_out;
use super::{content, decode, list};
use crate::data::parallel::in_parallel;
use crate::data::survey::{classes, split_counts};
use crate::data::{DataConfig, Survey};
use crate::{Error, Result};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

/// Decodes every picture and keeps its size alone.
///
/// # Errors
/// No picture, or a file that cannot be opened.
pub(crate) fn survey(path: &Path, config: &DataConfig) -> Result<Survey> {
    let listing = list::list(path, config.val_fraction)?;
    let sizes = in_parallel(&listing.entries, |entry| {
        let picture = decode::decode(&content(&entry.path)?);
        Ok::<_, Error>(picture.map(|picture| decode::natural(&picture)))
    })?;
    let (mut counts, mut whole, mut skipped) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (entry, size) in listing.entries.iter().zip(sizes) {
        match size {
            Ok(size) => {
                *counts.entry(size).or_insert(0) += 1;
                whole.push(entry);
            }
            Err(problem) => skipped.push((entry.path.clone(), problem)),
        }
    }
    let mut sizes: Vec<([i64; 3], usize)> = counts.into_iter().collect();
    sizes.sort_by_key(|(size, count)| (Reverse(*count), *size));
    Ok(Survey {
        kind: "folder of pictures",
        splits: split_counts(whole.iter().map(|entry| entry.split)),
        sizes,
        classes: classes(whole.iter().map(|entry| &entry.label), &listing.classes),
        fingerprint: Some(listing.fingerprint),
        remarks: left_out(&skipped),
    })
}
