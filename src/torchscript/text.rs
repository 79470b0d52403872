//! Changes of a program's text that must not miss.

use crate::{Error, Result};

/// `text` with `new` in the place of `old`, which must stand in it exactly `times` times.
///
/// A layer's text is written beside its Rust code, and whoever reads it backwards or builds it into a larger one relies
/// on the form of a few lines. If they look otherwise, that is an error here and not a program that computes something
/// else.
///
/// # Errors
/// [`Error::Config`] for any other number of places.
pub fn replaced(text: &str, old: &str, new: &str, times: usize) -> Result<String> {
    let found = text.matches(old).count();
    if found == times {
        return Ok(text.replace(old, new));
    }
    Err(Error::config(format!(
        "TorchScript that holds {old:?} {found} times, where {times} were expected:\n{text}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_replaced_as_often_as_expected_or_not_at_all() {
        assert_eq!(replaced("a b a", "a", "c", 2).unwrap(), "c b c");
        for (old, times) in [("a", 1), ("x", 1), ("a", 3)] {
            let err = replaced("a b a", old, "c", times).unwrap_err().to_string();
            assert!(err.contains(&format!("{old:?}")), "{err}");
        }
    }
}
