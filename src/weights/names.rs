//! From the keys of a file to the variables of a model.

use super::{published, Problem};
use std::collections::BTreeMap;

/// What wrappers of models put in front of every key: `DataParallel`, `torch.compile`, a model kept as an attribute.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// What becomes of a variable's tensors on the way from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One tensor of the same sizes.
    Same,
    /// One tensor; all its dimensions but the last become one.
    Rows,
    /// One integer, 0 or 1, becomes a boolean.
    Flag,
    /// Several tensors, one behind the other in the first dimension.
    Joined,
}

/// The tensors of a file that a variable is made of.
#[derive(Debug)]
pub(super) struct Source {
    pub keys: Vec<String>,
    pub form: Form,
}

impl Source {
    pub(super) fn same(key: impl Into<String>) -> Self {
        Self {
            keys: vec![key.into()],
            form: Form::Same,
        }
    }
}

/// Which keys belong to which variable.
#[derive(Debug)]
pub(super) struct Plan {
    /// By variable, those of the file that the model may not have included.
    pub sources: BTreeMap<String, Source>,
    /// Keys that belong to nothing.
    pub unexpected: Vec<String>,
}

/// The plan for a file of this crate, but for the keys that begin with `ignored`.
pub(super) fn own<'a>(keys: impl Iterator<Item = &'a str>, ignored: Option<&str>) -> Plan {
    let ours = keys.filter(|key| !ignored.is_some_and(|ignored| key.starts_with(ignored)));
    Plan {
        sources: ours
            .map(|key| (key.to_owned(), Source::same(key)))
            .collect(),
        unexpected: Vec::new(),
    }
}

/// The plan for a file of anybody and a model with these variables, made of `layers` (name and kind).
pub(super) fn any<'a>(
    keys: impl Iterator<Item = &'a str> + Clone,
    variables: &[&str],
    layers: &[(String, &'static str)],
) -> Result<Plan, Problem> {
    let prefix = common_prefix(keys.clone(), variables);
    let bare = |key: &str| key[prefix.len()..].to_owned();
    if published::is_theirs(keys.clone().map(|key| &key[prefix.len()..])) {
        return published::plan(keys, &prefix, variables, layers);
    }
    Ok(Plan {
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
