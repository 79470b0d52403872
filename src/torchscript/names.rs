//! Names of layers and stages: dotted paths that are attributes of a program and part of a checkpoint's names.

use crate::{Error, Result};

/// `name` if it can be that of a layer beside those called `taken`.
///
/// # Errors
/// [`Error::Config`] for a name that is empty, repeats another, holds `__` (which joins the parts of names in files), or
/// has parts between its dots that are empty or of anything but letters, digits and `_`.
pub(crate) fn check_name<'a>(name: &str, mut taken: impl Iterator<Item = &'a str>) -> Result<()> {
    let refused = |why: &str| {
        Err(Error::config(format!(
            "a layer cannot be called {name:?}: {why}"
        )))
    };
    let plain = |part: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !part.is_empty() && part.chars().all(letters)
    };
    if !name.split('.').all(plain) {
        return refused("use parts of letters, digits and `_` with a dot between each two");
    }
    if name.contains("__") {
        return refused("names in files use `__` themselves");
    }
    if taken.any(|other| other == name) {
        return refused("there is one of that name already");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dotted_paths_without_repetition() {
        let taken = ["levels.0.actnorm"];
        let check = |name: &str| check_name(name, taken.into_iter());
        for name in ["a", "levels.0.coupling", "steps.10.inv_conv", "B2"] {
            check(name).unwrap();
        }
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a-b",
            "a__b",
            "ä",
            "levels.0.actnorm",
        ] {
            let err = check(name).unwrap_err().to_string();
            assert!(err.contains(&format!("{name:?}")), "{err}");
        }
    }
}
