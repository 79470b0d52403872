//! An opened file of named tensors.

use super::format::{Container, HEAD};
use super::stored::{one_line, Contents, Dictionary};
use super::{legacy, safetensors, torch, Format, Problem, Stored};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// Dictionaries that a message lists.
const LISTED: usize = 20;
/// Keys under which training programs keep a state dictionary, the likeliest first.
const STATE_KEYS: [&str; 7] = [
    "model_state_dict",
    "state_dict",
    "model_state",
    "model",
    "net",
    "module",
    "weights",
];

/// An opened file: its names, shapes and dtypes checked against its length; its numbers still on the disk.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    file: File,
    contents: Contents,
    /// The part of all keys that [`below`](Self::below) asks for.
    prefix: Option<String>,
}

impl StateFile {
    /// Opens a file of any [`Format`].
    ///
    /// # Errors
    /// It is missing, unreadable, cut off, damaged, hostile or of a format that is not read; the message says which.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|err| Error::file(path, err))?;
        let about = file.metadata().map_err(|err| Error::file(path, err))?;
        if !about.is_file() {
            return Err(Error::file(path, "is not a file"));
        }
        let read = || {
            let mut head = vec![0; HEAD.min(about.len() as usize)];
            let failed = |err: std::io::Error| err.to_string();
            file.read_exact_at(&mut head, 0).map_err(failed)?;
            match Container::of(&head)? {
                Container::Zip => torch::read(&file, about.len()),
                Container::Legacy => legacy::read(&file, about.len()),
                Container::Pickle => legacy::read_pickle(&file, about.len()),
                Container::Safetensors => safetensors::read(&file, about.len()),
            }
        };
        let mut contents = read().map_err(|problem| Error::file(path, one_line(&problem)))?;
        contents.dictionaries.sort_by_key(likelihood);
        Ok(Self {
            path: path.to_path_buf(),
            contents,
            prefix: None,
            file,
        })
    }

    /// The file.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.contents.format
    }

    /// All dictionaries of tensors in it, the likeliest model first.
    pub fn dictionaries(&self) -> &[Dictionary] {
        &self.contents.dictionaries
    }

    /// The tensors of the first of the [`dictionaries`](Self::dictionaries) by name; none if there is none.
    pub fn tensors(&self) -> &BTreeMap<String, Stored> {
        static NONE: BTreeMap<String, Stored> = BTreeMap::new();
        let first = self.contents.dictionaries.first();
        first.map_or(&NONE, |dictionary| &dictionary.tensors)
    }

    /// A text that the writer put beside the tensors.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.contents.metadata.get(key).map(String::as_str)
    }

    /// What else the file holds: optimiser states, counters, objects. It is neither read nor run.
    pub fn left_out(&self) -> &[String] {
        &self.contents.left_out
    }

    /// Why the file has no tensors that can be loaded, if it has none.
    pub fn nothing(&self) -> Option<&str> {
        self.contents.nothing.as_deref()
    }

    /// Keeps the dictionary at `path` alone; `.` is the top level.
    ///
    /// # Errors
    /// There is none; the message lists those that there are.
    pub fn choose(&mut self, path: &str) -> Result<()> {
        let wanted = if path == "." { "" } else { path };
        let all = &mut self.contents.dictionaries;
        if !all.iter().any(|dictionary| dictionary.path == wanted) {
            let names: Vec<_> = all.iter().take(LISTED).map(Dictionary::name).collect();
            let problem = match names.is_empty() {
                true => format!("has no dictionary of tensors, and none at `{path}`"),
                false => format!(
                    "has no dictionary of tensors at `{path}`; there are {}",
                    names.join(", ")
                ),
            };
            return Err(Error::file(&self.path, one_line(&problem)));
        }
        all.retain(|dictionary| dictionary.path == wanted);
        Ok(())
    }

    /// Reads only the keys that begin with `prefix`, without it.
    ///
    /// # Errors
    /// No key does.
    pub fn below(&mut self, prefix: &str) -> Result<()> {
        let mut keys = self.contents.dictionaries.iter().flat_map(Dictionary::keys);
        if !keys.any(|key| key.starts_with(prefix)) {
            let problem = format!(
                "has no key that begins with `{prefix}`; `inverse-flow inspect FILE` lists its keys"
            );
            return Err(Error::file(&self.path, one_line(&problem)));
        }
        self.prefix = Some(prefix.to_owned());
        Ok(())
    }

    /// What [`below`](Self::below) was told.
    pub(super) fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// Compares all checksums that the file states with its content, and counts them.
    ///
    /// # Errors
    /// The first that does not match.
    pub fn verify_all(&self) -> Result<usize> {
        let mut verified = 0;
        for dictionary in self.dictionaries() {
            for (name, stored) in &dictionary.tensors {
                let region = &self.contents.regions[stored.region];
                if region.crc.is_some() {
                    self.verify(stored.region).map_err(|problem| {
                        Error::file(&self.path, one_line(&format!("`{name}`: {problem}")))
                    })?;
                    verified += 1;
                }
            }
        }
        Ok(verified)
    }

    /// Whether the file states a checksum for each of these tensors.
    pub(super) fn has_checksums(&self, dictionary: &Dictionary) -> bool {
        let mut tensors = dictionary.tensors.values();
        tensors.all(|stored| self.contents.regions[stored.region].crc.is_some())
    }

    /// Compares the checksum of a region with what the file states.
    pub(super) fn verify(&self, region: usize) -> Result<(), Problem> {
        let region = self.contents.regions[region];
        let Some(expected) = region.crc else {
            return Ok(());
        };
        let mut crc = flate2::Crc::new();
        let mut block = vec![0; 1 << 16];
        let mut at = 0;
        while at < region.length {
            let part = (region.length - at).min(block.len() as u64) as usize;
            let block = &mut block[..part];
            let failed = |err: std::io::Error| err.to_string();
            self.file
                .read_exact_at(block, region.start + at)
                .map_err(failed)?;
            crc.update(block);
            at += part as u64;
        }
        if crc.sum() != expected {
            return Err(
                "its checksum is not that of the file: the file is damaged, use another copy"
                    .into(),
            );
        }
        Ok(())
    }

    /// Reads the numbers of a tensor; the caller has compared its shape with one that has room.
    pub(super) fn read(&self, stored: &Stored) -> Result<Tensor, Problem> {
        let Some(kind) = stored.dtype.kind else {
            return Err(format!("is of dtype {}", stored.dtype));
        };
        let (region, bytes) = (self.contents.regions[stored.region], stored.dtype.bytes);
        let span = stored.span().unwrap_or(0);
        let mut content = vec![0; (span * bytes) as usize];
        let failed = |err: std::io::Error| err.to_string();
        let start = region.start + stored.offset * bytes;
        self.file
            .read_exact_at(&mut content, start)
            .map_err(failed)?;
        if region.big_endian {
            let number = match kind {
                // two numbers side by side
                tch::Kind::ComplexFloat | tch::Kind::ComplexDouble => bytes / 2,
                _ => bytes,
            };
            content
                .chunks_exact_mut(number as usize)
                .for_each(<[u8]>::reverse);
        }
        if kind == tch::Kind::Bool {
            // any other byte would be a boolean that is neither
            content
                .iter_mut()
                .for_each(|byte| *byte = u8::from(*byte != 0));
        }
        let torch = |err: tch::TchError| Error::from(err).to_string();
        if span == 0 {
            let empty = (kind, tch::Device::Cpu);
            return Tensor::f_empty(&stored.shape, empty).map_err(torch);
        }
        Tensor::f_from_data_size(&content, &[span as i64], kind)
            .and_then(|flat| flat.f_as_strided(&stored.shape, &stored.strides, 0))
            .map_err(torch)
    }
}

/// What dictionaries are sorted by: names that training programs give a model first, then the number of tensors.
fn likelihood(dictionary: &Dictionary) -> (usize, std::cmp::Reverse<usize>) {
    let last = dictionary.path.rsplit('.').next().unwrap_or_default();
    let rank = STATE_KEYS.iter().position(|key| *key == last);
    let tensors = dictionary.tensors.len() + dictionary.unread.len();
    (rank.unwrap_or(STATE_KEYS.len()), std::cmp::Reverse(tensors))
}
