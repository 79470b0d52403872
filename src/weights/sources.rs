//! Which tensors of a file a variable is made of, and how.

use std::collections::BTreeMap;

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
pub(super) struct KeyMap {
    /// By variable, those of the file that the model may not have included.
    pub sources: BTreeMap<String, Source>,
    /// Keys that belong to nothing.
    pub unexpected: Vec<String>,
    /// What was done to the keys, each in a line.
    pub remarks: Vec<String>,
}
