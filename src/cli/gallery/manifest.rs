//! What stands beside pictures: the settings that they were made with, and whether all of them are there.

use crate::{files, Error, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// By which a manifest is known.
const FORMAT: &str = "inverse-flow pictures 1";

/// Whether all pictures are there.
const COMPLETE: &str = "complete";

/// What pictures depend on, by name.
pub type Settings = Map<String, Value>;

/// A manifest with its file.
#[derive(Debug)]
pub(super) struct Manifest {
    path: PathBuf,
    object: Settings,
}

impl Manifest {
    /// Writes the manifest of new pictures, or compares that of pictures that are there already.
    ///
    /// # Errors
    /// Other settings, which are named; a file that is no manifest or cannot be written.
    pub(super) fn open(path: PathBuf, pictures: &Path, settings: Settings) -> Result<Self> {
        let there = Self::read(&path)?;
        if let Some(there) = &there {
            let differs =
                |(name, wanted): &(&String, &Value)| there.get(name.as_str()) != Some(*wanted);
            let other: Vec<String> = settings
                .iter()
                .filter(differs)
                .map(|(name, wanted)| match there.get(name) {
                    Some(value) => format!("{name} was {value} and is {wanted}"),
                    None => format!("{name} was not given and is {wanted}"),
                })
                .collect();
            if !other.is_empty() {
                return Err(Error::file(
                    pictures,
                    format!(
                        "has pictures that were made otherwise: {}; give the same settings to go on, or another --out",
                        other.join(", ")
                    ),
                ));
            }
        }
        let mut object = Map::from_iter([("format".to_owned(), FORMAT.into())]);
        object.extend(settings);
        object.insert(COMPLETE.to_owned(), false.into());
        let manifest = Self { path, object };
        manifest.write()?;
        Ok(manifest)
    }

    /// What a manifest says, if one is there.
    ///
    /// # Errors
    /// Another file is there.
    pub(super) fn read(path: &Path) -> Result<Option<Settings>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
        let object: Option<Settings> = serde_json::from_str(&text).ok();
        match object {
            Some(object) if object.get("format").is_some_and(|format| format == FORMAT) => {
                Ok(Some(object))
            }
            _ => Err(Error::file(
                path,
                "is no manifest of pictures: choose another --out",
            )),
        }
    }

    /// Says that all pictures are there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(mut self) -> Result<()> {
        self.object.insert(COMPLETE.to_owned(), true.into());
        self.write()
    }

    fn write(&self) -> Result<()> {
        files::make_folder_of(&self.path)?;
        let text = serde_json::to_string_pretty(&self.object)
            .map_err(|err| Error::file(&self.path, err))?;
        files::write(&self.path, text + "\n")
    }
}
