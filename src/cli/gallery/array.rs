//! All pictures in one array of NumPy, which grows batch by batch.
//!
//! The unfinished array is `NAME.npy.unfinished`: the header of the whole array, and the pictures so far.

use super::manifest::Manifest;
use crate::cli::npy;
use crate::files::{self, place};
use crate::train::Decoding;
use crate::{Error, Result};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The manifest beside an array.
pub(super) fn manifest(path: &Path) -> PathBuf {
    with(path, ".json")
}

fn unfinished(path: &Path) -> PathBuf {
    with(path, ".unfinished")
}

/// The path with more at its end.
fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// An array in the making.
#[derive(Debug)]
pub(super) struct Array {
    path: PathBuf,
    /// Nothing if the array is finished.
    file: Option<File>,
}

impl Array {
    /// Checks that the array can be written: nothing is there yet, or what this program wrote.
    ///
    /// # Errors
    /// Something else is there, or nothing can be written.
    pub(super) fn check(path: &Path) -> Result<()> {
        place::check_place(path)?;
        match path.exists() && Manifest::read(&manifest(path))?.is_none() {
            false => Ok(()),
            true => Err(Error::file(
                path,
                "is there, and no manifest beside it says how it was made: choose another --out",
            )),
        }
    }

    /// Begins an array of pictures of shape `chw`, or goes on with one; with it the number of batches in it.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub(super) fn open(path: &Path, chw: [i64; 3], decoding: &Decoding<'_>) -> Result<(Self, u64)> {
        let [c, h, w] = chw.map(|size| size as u64);
        let count = decoding.count;
        let header = npy::header("|u1", &[count, h, w, c]);
        let length = |images: u64| header.len() as u64 + images * c * h * w;
        let own = path.to_path_buf();
        if begins_with(path, &header) == Some(length(count)) {
            let done = Self {
                path: own,
                file: None,
            };
            return Ok((done, decoding.batches()));
        }
        let part = unfinished(path);
        let there = begins_with(&part, &header).unwrap_or(0);
        // what was written last may not have reached the disk when the machine stopped
        let of = |batches: u64| length(decoding.images(batches).start);
        let mut whole = (0..=decoding.batches())
            .rev()
            .find(|&batches| of(batches) <= there);
        whole = whole.map(|batches| batches.saturating_sub(1));
        let failed = |err: std::io::Error| Error::file(&part, format!("cannot be written: {err}"));
        let mut file = files::open_to_append(&part)?;
        match whole {
            Some(batches) => file.set_len(of(batches)).map_err(failed)?,
            None => {
                file.set_len(0).map_err(failed)?;
                file.write_all(&header).map_err(failed)?;
            }
        }
        let array = Self {
            path: own,
            file: Some(file),
        };
        Ok((array, whole.unwrap_or(0)))
    }

    /// Adds the bytes of pictures and waits until the disk has them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn put(&mut self, pixels: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Err(Error::file(&self.path, "is finished"));
        };
        let written = file.write_all(pixels).and_then(|()| file.sync_data());
        written.map_err(|err| {
            let part = unfinished(&self.path);
            Error::file(part, format!("cannot be written: {err}"))
        })
    }

    /// Gives the array its name.
    ///
    /// # Errors
    /// It cannot be moved.
    pub(super) fn finish(self) -> Result<()> {
        match self.file {
            Some(_) => files::move_into_place(&unfinished(&self.path), &self.path),
            None => Ok(()),
        }
    }
}

/// The length of a file that begins so; nothing for another one.
fn begins_with(path: &Path, header: &[u8]) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let mut head = vec![0; header.len()];
    file.read_exact(&mut head).ok()?;
    (head == header).then_some(file.metadata().ok()?.len())
}
