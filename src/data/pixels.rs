//! The bytes of images, in memory or in a file.

use crate::words::counted;
use crate::{Error, Result};
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that lie side by side. A part of them shares them.
#[derive(Debug, Clone)]
pub(super) struct Pixels {
    place: Place,
    range: Range<u64>,
}

#[derive(Clone)]
enum Place {
    Memory(Arc<Vec<u8>>),
    /// Read where it is needed: what the machine has read lately it keeps by itself, and gives back when memory is short.
    File(Arc<(PathBuf, File)>),
}

impl Pixels {
    /// Bytes in memory.
    pub(super) fn memory(bytes: Vec<u8>) -> Self {
        Self {
            range: 0..bytes.len() as u64,
            place: Place::Memory(Arc::new(bytes)),
        }
    }

    /// The bytes `range` of an open file.
    pub(super) fn file(path: &Path, file: File, range: Range<u64>) -> Self {
        Self {
            place: Place::File(Arc::new((path.to_path_buf(), file))),
            range,
        }
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// A part of them; `range` counts from their beginning and lies in them.
    pub(super) fn part(&self, range: Range<u64>) -> Self {
        let start = self.range.start;
        Self {
            place: self.place.clone(),
            range: start + range.start..start + range.end,
        }
    }

    /// The same bytes, further on in the same file.
    pub(super) fn elsewhere(&self, range: Range<u64>) -> Self {
        Self {
            place: self.place.clone(),
            range,
        }
    }

    /// Copies the bytes from `start` on into `out`.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub(super) fn read(&self, start: u64, out: &mut [u8]) -> Result<()> {
        let start = self.range.start + start;
        match &self.place {
            Place::Memory(bytes) => {
                out.copy_from_slice(&bytes[start as usize..][..out.len()]);
                Ok(())
            }
            Place::File(opened) => {
                let (path, file) = &**opened;
                file.read_exact_at(out, start)
                    .map_err(|err| Error::file(path, format!("cannot be read any more: {err}")))
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "{} in memory", counted(bytes.len(), "byte")),
            Self::File(opened) => write!(f, "in {}", opened.0.display()),
        }
    }
}

impl PartialEq for Pixels {
    /// Equal bytes; two parts of files are compared by the files' names and places.
    fn eq(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Memory(mine), Place::Memory(theirs)) => {
                let of = |range: &Range<u64>| range.start as usize..range.end as usize;
                mine[of(&self.range)] == theirs[of(&other.range)]
            }
            (Place::File(mine), Place::File(theirs)) => {
                mine.0 == theirs.0 && self.range == other.range
            }
            _ => false,
        }
    }
}
