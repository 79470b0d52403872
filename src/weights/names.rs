//! From the keys of a file to the variables of a model.
//!
//! What wrappers add is taken off where that makes the keys fit: their own parts of a name anywhere (`_orig_mod`), then
//! whatever all variables have in front. Every way in which all variables are there is an answer.

use super::sources::{KeyMap, Source};
use super::{published, Dictionary, Problem};
use crate::words::counted;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Parts of a name that wrappers of models add: `DataParallel`, `torch.compile`, DeepSpeed and Lightning, FSDP, activation
/// checkpoints.
const WRAPPERS: [&str; 6] = [
    "module",
    "_orig_mod",
    "_forward_module",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
];
/// Last parts of names of what wrappers and layers count, and no model here is made of: PyTorch's averaging, other
/// averaging, batch normalisation, modules with a state of their own.
const COUNTERS: [&str; 7] = [
    "n_averaged",
    "num_updates",
    "num_updates_ema",
    "decay",
    "initted",
    "num_batches_tracked",
    "_extra_state",
];

/// The map for a file of this crate, but for the keys that begin with one of `others`; those that begin with `instead` take
/// the places of those without it.
pub(super) fn own<'a>(
    keys: impl Iterator<Item = &'a str>,
    others: &[&str],
    instead: Option<&str>,
) -> KeyMap {
    let mut sources = BTreeMap::new();
    let mut first = Vec::new();
    for key in keys {
        if let Some(name) = instead.and_then(|instead| key.strip_prefix(instead)) {
            first.push((name.to_owned(), Source::same(key)));
        } else if !others.iter().any(|other| key.starts_with(other)) {
            sources.insert(key.to_owned(), Source::same(key));
        }
    }
    sources.extend(first);
    KeyMap {
        sources,
        unexpected: Vec::new(),
        remarks: Vec::new(),
    }
}

/// A key of a file without what wrappers added.
struct Bare<'a> {
    key: &'a str,
    name: String,
}

/// The maps for a dictionary of anybody and a model with these variables, made of `layers` (name and kind); only the keys
/// that begin with `prefix` count, if there is one.
pub(super) fn any(
    dictionary: &Dictionary,
    variables: &[&str],
    layers: &[(String, &'static str)],
    prefix: Option<&str>,
) -> Result<Vec<KeyMap>, Problem> {
    let mut remarks = Vec::new();
    let (bare, skipped) = strip(dictionary, variables, prefix, &mut remarks);
    if !skipped.is_empty() {
        let listed = skipped.iter().map(|key| format!("`{key}`"));
        let listed: Vec<_> = listed.take(LISTED).collect();
        remarks.push(format!("no weight and left out: {}", listed.join(", ")));
    }
    let names: HashSet<&str> = bare.iter().map(|bare| &bare.name[..]).collect();
    let fronts = fronts(&bare, &names, variables);
    if fronts.is_empty() {
        if let Some(front) = published_front(&bare, variables) {
            return Ok(vec![published_map(
                &bare, &front, variables, layers, remarks,
            )?]);
        }
    }
    let fronts = match fronts.is_empty() {
        true => vec![nearest(&bare, &names, variables)],
        false => fronts,
    };
    let map = |front: &String| {
        let mut remarks = remarks.clone();
        if !front.is_empty() {
            remarks.push(format!("`{front}` in front of all names is taken off"));
        }
        let others = || fronts.iter().filter(|other| *other != front);
        if let Some(other) = others().next() {
            remarks.push(format!(
                "the names also fit below {}: `--prefix {other}` takes those",
                others()
                    .map(|other| format!("`{other}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ));
        }
        let mut sources = BTreeMap::new();
        let (mut unexpected, mut joined) = (Vec::new(), BTreeSet::new());
        for Bare { key, name } in &bare {
            match name.strip_prefix(front.as_str()) {
                Some(name) if !sources.contains_key(name) => {
                    drop(sources.insert(name.to_owned(), Source::same(*key)));
                }
                // they belong to the other copy of the model
                None if others().any(|other| !other.is_empty() && name.starts_with(other)) => {}
                None if joined_copy(name, variables).is_some() => {
                    joined.extend(joined_copy(name, variables));
                }
                _ => unexpected.push((*key).to_owned()),
            }
        }
        if fronts.len() > 1 {
            let copies: BTreeSet<String> = others()
                .flat_map(|other| variables.iter().map(move |name| format!("{other}{name}")))
                .collect();
            sources.retain(|name, _| {
                variables.contains(&&name[..]) || !copies.contains(&format!("{front}{name}"))
            });
        }
        if !joined.is_empty() {
            let fronts: Vec<_> = joined.iter().map(|front| format!("`{front}.`")).collect();
            remarks.push(format!(
                "copies of the weights whose names have no dots, below {}, are left out",
                fronts.join(", ")
            ));
        }
        KeyMap {
            sources,
            unexpected,
            remarks,
        }
    };
    Ok(fronts.iter().map(map).collect())
}

/// What is in front of a name that is a variable's without its dots: some training programs keep averages so.
fn joined_copy<'a>(name: &'a str, variables: &[&str]) -> Option<&'a str> {
    let (front, last) = name.rsplit_once('.')?;
    let is_variable = |variable: &&str| {
        let parts = variable.split('.').rev();
        let mut rest = Some(last);
        for part in parts {
            rest = rest.and_then(|rest| rest.strip_suffix(part));
        }
        variable.contains('.') && rest.is_some()
    };
    variables.iter().any(is_variable).then_some(front)
}

/// Names that a remark lists.
const LISTED: usize = 5;

/// The keys without the parts that wrappers add, and those that are no weights.
fn strip<'a>(
    dictionary: &'a Dictionary,
    variables: &[&str],
    prefix: Option<&str>,
    remarks: &mut Vec<String>,
) -> (Vec<Bare<'a>>, Vec<&'a str>) {
    let has_part = |part: &str| {
        variables
            .iter()
            .any(|name| name.split('.').any(|own| own == part))
    };
    let wrappers: Vec<&str> = WRAPPERS
        .into_iter()
        .filter(|part| !has_part(part))
        .collect();
    let counters: Vec<&str> = COUNTERS
        .into_iter()
        .filter(|part| !has_part(part))
        .collect();
    let (mut bare, mut skipped, mut beyond) = (Vec::new(), Vec::new(), 0);
    let mut removed = BTreeSet::new();
    for key in dictionary.keys() {
        let name = match prefix {
            None => key,
            Some(prefix) => match key.strip_prefix(prefix) {
                Some(name) => name.strip_prefix('.').unwrap_or(name),
                None => {
                    beyond += 1;
                    continue;
                }
            },
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        let stored = dictionary.tensors.get(key);
        let is_small = stored.is_none_or(|stored| stored.shape.iter().all(|&size| size == 1));
        if counters.contains(&last) && (is_small || last == "_extra_state") {
            skipped.push(key);
            continue;
        }
        let parts = name.split('.');
        let kept = parts.filter(|part| {
            let is_wrapper = wrappers.contains(part);
            if is_wrapper {
                removed.insert((*part).to_owned());
            }
            !is_wrapper
        });
        let name = kept.collect::<Vec<_>>().join(".");
        bare.push(Bare { key, name });
    }
    if !removed.is_empty() {
        let parts = removed.iter().map(|part| format!("`{part}.`"));
        let parts: Vec<_> = parts.collect();
        remarks.push(format!(
            "{} of wrappers taken off the names",
            parts.join(", ")
        ));
    }
    if let (Some(prefix), 1..) = (prefix, beyond) {
        remarks.push(format!(
            "{} not below `{prefix}` left out",
            counted(beyond, "key")
        ));
    }
    (bare, skipped)
}

/// What is in front of the names where every variable is there, in their order.
fn fronts(bare: &[Bare<'_>], names: &HashSet<&str>, variables: &[&str]) -> Vec<String> {
    let Some(longest) = variables.iter().max_by_key(|name| name.len()) else {
        return vec![String::new()];
    };
    let mut fronts: Vec<String> = Vec::new();
    for front in ahead_of(bare, longest) {
        let full = |name: &&str| names.contains(&format!("{front}{name}")[..]);
        if !fronts.iter().any(|known| known == front) && variables.iter().all(full) {
            fronts.push(front.to_owned());
        }
    }
    // the plain names first, then the shorter prefix: `model.` before `model_ema.`
    fronts.sort_by_key(|front| (front.contains("ema"), front.len()));
    fronts
}

/// What stands in front of a variable's name wherever it occurs.
fn ahead_of<'a>(bare: &'a [Bare<'_>], variable: &str) -> impl Iterator<Item = &'a str> {
    let variable = variable.to_owned();
    bare.iter().filter_map(move |bare| {
        let front = bare.name.strip_suffix(&variable[..])?;
        (front.is_empty() || front.ends_with('.')).then_some(front)
    })
}

/// What is in front of the names where the most variables are there, for a message about the others.
fn nearest(bare: &[Bare<'_>], names: &HashSet<&str>, variables: &[&str]) -> String {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for variable in variables.iter().take(PROBES) {
        for front in ahead_of(bare, variable) {
            *counts.entry(front).or_default() += 1;
        }
    }
    let mut likely: Vec<_> = counts.into_iter().collect();
    likely.sort_by_key(|&(front, count)| (std::cmp::Reverse(count), front.len(), front.to_owned()));
    let there = |front: &str| {
        variables
            .iter()
            .filter(|name| names.contains(&format!("{front}{name}")[..]))
            .count()
    };
    let best = likely
        .into_iter()
        .take(PROBES)
        .max_by_key(|(front, _)| (there(front), std::cmp::Reverse(front.len())));
    best.map_or_else(String::new, |(front, _)| front.to_owned())
}

/// Variables and prefixes that are tried where nothing fits.
const PROBES: usize = 64;

/// What is in front of the numbers of layers, if these are the keys of the paper's own code.
fn published_front(bare: &[Bare<'_>], variables: &[&str]) -> Option<String> {
    let first = &bare.first()?.name;
    let ends = std::iter::once(0).chain(first.match_indices('.').map(|(at, _)| at + 1));
    for end in ends {
        let front = &first[..end];
        // numbers behind a part of the model's own names are not those of layers
        let is_own = end > 0 && variables.iter().any(|name| name.starts_with(front));
        if is_own || !bare.iter().all(|bare| bare.name.starts_with(front)) {
            return None;
        }
        if published::is_theirs(bare.iter().map(|bare| &bare.name[end..])) {
            return Some(front.to_owned());
        }
    }
    None
}

fn published_map(
    bare: &[Bare<'_>],
    front: &str,
    variables: &[&str],
    layers: &[(String, &'static str)],
    mut remarks: Vec<String>,
) -> Result<KeyMap, Problem> {
    let keys: HashMap<&str, &str> = bare.iter().map(|bare| (&bare.name[..], bare.key)).collect();
    let names = bare.iter().map(|bare| &bare.name[..]);
    let mut map = published::plan(names, front, variables, layers)?;
    let original = |name: &mut String| {
        if let Some(key) = keys.get(&name[..]) {
            *name = (*key).to_owned();
        }
    };
    for source in map.sources.values_mut() {
        source.keys.iter_mut().for_each(original);
    }
    map.unexpected.iter_mut().for_each(original);
    if !front.is_empty() {
        remarks.push(format!("`{front}` in front of all names is taken off"));
    }
    remarks.push("names of the paper's own code".to_owned());
    map.remarks = remarks;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_dots_is_known_by_its_parts() {
        let variables = ["levels.0.weight", "bias"];
        let found = |name| joined_copy(name, &variables);
        assert_eq!(found("model_ema.levels0weight"), Some("model_ema"));
        // the wrapped model had a name of its own
        assert_eq!(found("a.ema.netlevels0weight"), Some("a.ema"));
        for other in [
            "model_ema.levels1weight",
            "ema.levels.0.weight",
            "ema.bias",
            "levels0weight",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
