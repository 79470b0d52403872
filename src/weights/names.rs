//! From the keys of a file to the variables of a model.

use super::sources::{KeyMap, Source};
use super::{published, Problem};

/// What wrappers of models put in front of every key: `DataParallel`, `torch.compile`, a model kept as an attribute.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// The map for a file of this crate, but for the keys that begin with `ignored`.
pub(super) fn own<'a>(keys: impl Iterator<Item = &'a str>, ignored: Option<&str>) -> KeyMap {
    let ours = keys.filter(|key| !ignored.is_some_and(|ignored| key.starts_with(ignored)));
    KeyMap {
        sources: ours
            .map(|key| (key.to_owned(), Source::same(key)))
            .collect(),
        unexpected: Vec::new(),
    }
}

/// The map for a file of anybody and a model with these variables, made of `layers` (name and kind).
pub(super) fn any<'a>(
    keys: impl Iterator<Item = &'a str> + Clone,
    variables: &[&str],
    layers: &[(String, &'static str)],
) -> Result<KeyMap, Problem> {
    let prefix = common_prefix(keys.clone(), variables);
    let bare = |key: &str| key[prefix.len()..].to_owned();
    if published::is_theirs(keys.clone().map(|key| &key[prefix.len()..])) {
        return published::plan(keys, &prefix, variables, layers);
    }
    Ok(KeyMap {
        sources: keys.map(|key| (bare(key), Source::same(key))).collect(),
        unexpected: Vec::new(),
    })
}

/// The prefixes that all keys share and that the model's variables do not have.
fn common_prefix<'a>(keys: impl Iterator<Item = &'a str> + Clone, variables: &[&str]) -> String {
    let mut common = String::new();
    let mut remaining = PREFIXES.len();
    while remaining > 0 {
        remaining -= 1;
        let next = PREFIXES.iter().find(|prefix| {
            let with = format!("{common}{prefix}");
            let mut keys = keys.clone().peekable();
            keys.peek().is_some()
                && keys.all(|key| key.starts_with(&with))
                && !variables.iter().any(|name| name.starts_with(*prefix))
        });
        match next {
            Some(prefix) => common += prefix,
            None => break,
        }
    }
    common
}
