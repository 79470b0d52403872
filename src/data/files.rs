//! Reading a file whose exact size is known, plain or gzipped.

use super::DataName;
use crate::words::counted;
use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// How gzipped data begin.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One file of a data set.
#[derive(Debug)]
pub(super) struct DataFile<'a> {
    /// The data set it belongs to.
    pub data: DataName,
    /// The folder with all data sets.
    pub root: &'a Path,
    /// Its folder inside that one.
    pub folder: &'static str,
    /// Other folders where it may lie.
    pub also_in: &'static [&'static str],
    /// Its name, without `.gz`.
    pub name: &'a str,
}

impl DataFile<'_> {
    /// Where it is: the plain file if there is one, else the gzipped one if there is one, else one where or how torchvision
    /// or an archive leaves it, else the plain file's place.
    pub fn path(&self) -> PathBuf {
        // `train-images.idx3-ubyte`
        let dotted = self.name.replace("-idx", ".idx");
        let names = [
            self.name.to_owned(),
            format!("{}.gz", self.name),
            format!("{dotted}.gz"),
            dotted,
        ];
        let folders = [self.folder]
            .into_iter()
            .chain(self.also_in.iter().copied());
        let places = folders.flat_map(|folder| names.iter().map(move |name| (folder, name)));
        places
            .map(|(folder, name)| self.root.join(folder).join(name))
            .find(|place| place.exists())
            .unwrap_or_else(|| self.root.join(self.folder).join(self.name))
    }

    /// An [`Error::File`] about this file.
    pub fn error(&self, problem: impl ToString) -> Error {
        Error::file(self.path(), problem)
    }

    /// The `size` bytes of the file after `check` has accepted the first `header` of them.
    ///
    /// No more than `size` bytes are ever held, whatever the file claims or unpacks to.
    pub fn read(
        &self,
        header: usize,
        size: usize,
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let path = self.path();
        let file = File::open(&path).map_err(|err| match err.kind() {
            ErrorKind::NotFound => self.error(format!(
                "no such file, nor one with .gz; the files of {} belong into {}",
                self.data,
                self.root.join(self.folder).display()
            )),
            _ => self.error(err),
        })?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        // a file's ending says little about whether somebody has unpacked it
        let head = reader.fill_buf().map_err(|err| self.error(err))?;
        if head.starts_with(&GZIP) {
            return self.read_from(MultiGzDecoder::new(reader), header, size, check);
        }
        self.read_from(reader, header, size, check)
    }

    fn read_from(
        &self,
        mut reader: impl Read,
        header: usize,
        size: usize,
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.append(&mut reader, header, &mut bytes)?;
        if bytes.len() == header {
            check(&bytes)?;
            self.append(&mut reader, size - header, &mut bytes)?;
        }
        if bytes.len() < size {
            return Err(self.error(format!(
                "truncated: expected {}, found {}",
                counted(size, "byte"),
                bytes.len()
            )));
        }
        let mut beyond = Vec::new();
        self.append(&mut reader, 1, &mut beyond)?;
        if !beyond.is_empty() {
            return Err(self.error(format!("trailing bytes after the expected {size}")));
        }
        Ok(bytes)
    }

    /// Appends at most `count` bytes, fewer only at the end of the file.
    fn append(&self, reader: &mut impl Read, count: usize, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.reserve_exact(count);
        reader
            .take(count as u64)
            .read_to_end(bytes)
            .map(|_| ())
            .map_err(|err| match err.kind() {
                ErrorKind::UnexpectedEof => self.error("truncated gzip data"),
                ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                    self.error(format!("damaged gzip data: {err}"))
                }
                _ => self.error(err),
            })
    }

    /// Checks that every label names one of ten classes.
    pub fn check_labels(&self, labels: &[u8]) -> Result<()> {
        match labels.iter().position(|&label| label > 9) {
            None => Ok(()),
            Some(i) => {
                Err(self.error(format!("label {} of image {i}, expected 0 to 9", labels[i])))
            }
        }
    }
}
