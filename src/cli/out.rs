//! What is written is looked at before the work: a name that cannot be, or a folder that cannot be written, is found at once.

use crate::files::place;
use crate::{Error, Result};
use std::path::Path;

/// Endings of pictures that lose something.
const LOSSY: [&str; 2] = ["jpg", "jpeg"];

/// Which of `endings` a file name has.
///
/// # Errors
/// None of them; the message says which there are.
pub fn ending<'a>(flag: &str, path: &Path, endings: &[&'a str]) -> Result<&'a str> {
    let given = path.extension().and_then(|given| given.to_str());
    let found = endings.iter().find(|known| Some(**known) == given);
    if let Some(found) = found {
        return Ok(found);
    }
    let known: Vec<String> = endings.iter().map(|known| format!(".{known}")).collect();
    let known = match known.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    };
    let lossy = given.is_some_and(|given| LOSSY.contains(&given.to_lowercase().as_str()));
    let why = match lossy && endings.contains(&"png") {
        true => format!(
            ", which keeps every pixel as JPEG does not: write {}",
            path.with_extension("png").display()
        ),
        false => String::new(),
    };
    Err(Error::config(format!(
        "{}: {flag} must end in {known}{why}",
        path.display()
    )))
}

/// Checks that a file with one of these endings can be written. A device or a pipe may have any name.
///
/// # Errors
/// Another ending, a folder of this name, or a folder above it that cannot be written.
pub fn check_file(flag: &str, path: &Path, endings: &[&str]) -> Result<()> {
    if !place::is_device(path) {
        ending(flag, path, endings)?;
    }
    check_place(path)
}

/// Checks that a file can be written, whatever its name.
///
/// # Errors
/// A folder of this name, or a folder above it that cannot be written.
pub fn check_place(path: &Path) -> Result<()> {
    match place::is_device(path) {
        true => Ok(()),
        false => place::check_place(path),
    }
}

/// Checks that `path` is no checkpoint that `input` (a run or a file of one) is read from, nor another of its run.
///
/// # Errors
/// It is one, by whatever name or link.
pub fn check_beside(path: &Path, input: &Path) -> Result<()> {
    let (Ok(written), Ok(read)) = (path.canonicalize(), input.canonicalize()) else {
        return Ok(());
    };
    let checkpoints = match read.is_dir() {
        true => Some(read.join("checkpoints")),
        false => read
            .parent()
            .filter(|folder| folder.ends_with("checkpoints"))
            .map(Path::to_path_buf),
    };
    let is_its = written == read || checkpoints.is_some_and(|folder| written.starts_with(folder));
    match is_its && written.is_file() {
        true => Err(Error::config(format!(
            "{}: is what is read, or a checkpoint of the same run: write to another file",
            path.display()
        ))),
        false => Ok(()),
    }
}

/// Checks that a PNG file can be written.
///
/// # Errors
/// As [`check_file`].
pub fn check_png(path: &Path) -> Result<()> {
    check_file("--out", path, &["png"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_with_the_way_out() {
        let of = |name: &str, endings: &[&str]| {
            ending("--out", Path::new(name), endings)
                .map(str::to_owned)
                .map_err(|err| err.to_string())
        };
        assert_eq!(of("a/b.png", &["png", "gif"]).unwrap(), "png");
        let message = of("a/b.JPG", &["png", "gif"]).unwrap_err();
        assert_eq!(
            message,
            "a/b.JPG: --out must end in .png or .gif, which keeps every pixel as JPEG does not: write a/b.png"
        );
        let message = of("b", &["safetensors", "npy", "x"]).unwrap_err();
        assert_eq!(message, "b: --out must end in .safetensors, .npy or .x");
        assert!(of("b.jpeg", &["npy"]).unwrap_err().ends_with("in .npy"));
    }
}
