//! What a source holds, before anybody trains on it.

#[cfg(feature = "pictures")]
use super::Split;
use std::collections::BTreeMap;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// What the source is.
    pub kind: &'static str,
    /// Images of the splits train, val and test.
    pub splits: [usize; 3],
    /// Sizes `[C, H, W]` as they are in the files, and how many images have them, the most frequent first.
    pub sizes: Vec<([i64; 3], usize)>,
    /// Classes and how many images they have; empty if there are none.
    pub classes: Vec<(String, usize)>,
    /// What files of one's own hold.
    pub fingerprint: Option<String>,
    /// Files that cannot be read.
    pub remarks: Vec<String>,
}

/// How many images each class has.
pub(super) fn classes<'a>(
    labels: impl Iterator<Item = &'a u16>,
    names: &[String],
) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    labels.for_each(|label| *counts.entry(*label).or_default() += 1);
    // one label for all is none
    if names.is_empty() && counts.len() == 1 {
        return Vec::new();
    }
    let name = |label: u16| names.get(usize::from(label)).cloned();
    let named = counts
        .into_iter()
        .map(|(label, count)| (name(label).unwrap_or_else(|| label.to_string()), count));
    named.collect()
}

/// How many images of each split there are in a list of them.
#[cfg(feature = "pictures")]
pub(super) fn split_counts(splits: impl Iterator<Item = Split> + Clone) -> [usize; 3] {
    Split::ALL.map(|one| splits.clone().filter(|split| *split == one).count())
}
