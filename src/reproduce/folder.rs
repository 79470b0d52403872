//! The files of a result folder.

use crate::{files, Error, Result};
use serde::{de::DeserializeOwned, Serialize};
use std::path::Path;

/// Writes a file; its folder is made if need be.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|err| Error::file(path, err))?;
    write_text(path, &(text + "\n"))
}

/// Writes a file; its folder is made if need be.
pub(super) fn write_text(path: &Path, text: &str) -> Result<()> {
    files::make_folder_of(path)?;
    files::write(path, text)
}

/// Reads what [`write_json`] wrote, if it is there.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
    let value = serde_json::from_str(&text);
    value.map(Some).map_err(|err| {
        Error::file(
            path,
            format!("is not what this program writes ({err}): remove it"),
        )
    })
}
