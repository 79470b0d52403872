//! The splits of a folder, in memory or in one packed file.

use super::{images, list, wanted, Skipped, Wanted};
use crate::data::own::found::{Loaded, Packing};
use crate::data::own::pack::{self, Part};
use crate::data::{DataConfig, Dataset, Split};
use crate::words::counted;
use crate::Result;
use std::path::Path;

/// Files that were left out and are named; the others are counted.
const NAMED: usize = 3;

/// Pictures that are decoded at a time while a file is packed.
const AT_A_TIME: usize = 256;

/// `[C, H, W]` of the images of a folder.
///
/// # Errors
/// No picture, or one that cannot be read.
pub(crate) fn shape(path: &Path, config: &DataConfig) -> Result<[i64; 3]> {
    Ok(wanted(path, config)?.chw)
}

/// Splits in memory.
///
/// # Errors
/// No picture, or one that cannot be read or is of another size.
pub(crate) fn load(path: &Path, config: &DataConfig, splits: &[Split]) -> Result<Loaded> {
    let listing = list::list(path, config.val_fraction)?;
    let wanted = wanted(path, config)?;
    let mut skipped = Vec::new();
    let mut loaded = Vec::new();
    for &split in splits {
        let entries = listing.of(split, config.limit);
        let images = images(&entries, &wanted, config.skip_damaged, &mut skipped)?;
        let name = format!("{} {split}", path.display());
        let mut data = Dataset::new(name, wanted.chw, images.pixels, images.labels)?;
        data.classes.clone_from(&listing.classes);
        let files = images.paths.iter();
        data.files = files
            .map(|file| list::below(path, file).join("/"))
            .collect();
        loaded.push(data);
    }
    Ok(Loaded {
        splits: loaded,
        fingerprint: listing.fingerprint,
        remarks: left_out(&skipped),
    })
}

/// All splits in one file, a few pictures at a time.
///
/// # Errors
/// As [`load`], or the file cannot be written.
pub(crate) fn pack(path: &Path, config: &DataConfig, out: &Path) -> Result<Packing> {
    let listing = list::list(path, config.val_fraction)?;
    let wanted = wanted(path, config)?;
    let [channels, h, w] = wanted.chw;
    let [h, w] = config.pad.unwrap_or([h, w]);
    let chw = [channels, h, w];
    let mut skipped = Vec::new();
    let mut counts = [0; 3];
    pack::pack(out, chw, &listing.classes, |packer| {
        for (count, split) in counts.iter_mut().zip(Split::ALL) {
            let entries = listing.of(split, config.limit);
            let parts = entries
                .chunks(AT_A_TIME)
                .map(|entries| part(entries, &wanted, config, &mut skipped));
            *count = packer.split(split, parts)?;
        }
        Ok(())
    })?;
    Ok(Packing {
        chw,
        counts,
        remarks: left_out(&skipped),
    })
}

/// Some images as they are packed.
fn part(
    entries: &[&list::Entry],
    wanted: &Wanted,
    config: &DataConfig,
    skipped: &mut Vec<Skipped>,
) -> Result<Part> {
    let images = images(entries, wanted, config.skip_damaged, skipped)?;
    let Some(size) = config.pad else {
        return Ok((images.pixels, images.labels));
    };
    let data = Dataset::new("pictures", wanted.chw, images.pixels, images.labels)?;
    let data = data.padded(size, config.background)?;
    Ok((data.pixels()?, data.labels))
}

/// One line about files that were left out, if there are any.
pub(super) fn left_out(skipped: &[Skipped]) -> Vec<String> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let named = skipped
        .iter()
        .take(NAMED)
        .map(|(path, problem)| format!("{} {problem}", path.display()));
    let named: Vec<String> = named.collect();
    let more = match skipped.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let files = counted(skipped.len(), "damaged file");
    vec![format!("{files} left out: {}{more}", named.join("; "))]
}
