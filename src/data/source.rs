//! What `--data` names: a data set that is known by its name, or files of the user's own.

use super::DataName;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A data set whose contents are known.
    Known(DataName),
    /// A folder of pictures, a file of arrays, or a folder in one of the layouts of `own`.
    Own(PathBuf),
}

impl Source {
    /// The data set, if it is a known one.
    pub fn known(&self) -> Option<DataName> {
        match self {
            Self::Known(name) => Some(*name),
            Self::Own(_) => None,
        }
    }

    /// The path, if the files are the user's own.
    pub fn own(&self) -> Option<&Path> {
        match self {
            Self::Known(_) => None,
            Self::Own(path) => Some(path),
        }
    }

    /// The same with an absolute path, by which a run finds its data from any folder.
    ///
    /// # Errors
    /// There is nothing at the path.
    pub fn absolute(self) -> Result<Self> {
        match self {
            Self::Own(path) => path
                .canonicalize()
                .map(Self::Own)
                .map_err(|err| Error::file(&path, err)),
            known => Ok(known),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => name.fmt(f),
            Self::Own(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    /// A name is a known data set; everything else is a path, which has a `/` or leads to something. A folder called like a
    /// data set is written `./mnist`.
    fn from_str(text: &str) -> Result<Self> {
        match text.parse() {
            Ok(name) => Ok(Self::Known(name)),
            Err(_) if text.contains('/') || Path::new(text).exists() => Ok(Self::Own(text.into())),
            Err(err) => Err(Error::config(format!(
                "{err}; nor is there a file or folder of this name"
            ))),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl From<DataName> for Source {
    fn from(name: DataName) -> Self {
        Self::Known(name)
    }
}

impl PartialEq<DataName> for Source {
    fn eq(&self, name: &DataName) -> bool {
        self.known() == Some(*name)
    }
}
