//! An opened file of named tensors.

use super::format::{Container, HEAD};
use super::stored::{one_line, Contents, Region};
use super::{safetensors, torch, Format, Problem, Stored};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// An opened file: its names, shapes and dtypes checked against its length; its numbers still on the disk.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    file: File,
    format: Format,
    tensors: BTreeMap<String, Stored>,
    regions: Vec<Region>,
    metadata: HashMap<String, String>,
    left_out: Vec<String>,
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
                Container::Safetensors => {
                    let header = safetensors::read(&file, about.len())?;
                    Ok(Contents {
                        format: Format::Safetensors,
                        tensors: header.tensors,
                        regions: header.regions,
                        metadata: header.metadata,
                        left_out: Vec::new(),
                    })
                }
            }
        };
        let contents = read().map_err(|problem| Error::file(path, one_line(&problem)))?;
        Ok(Self {
            path: path.to_path_buf(),
            format: contents.format,
            tensors: contents.tensors,
            regions: contents.regions,
            metadata: contents.metadata,
            left_out: contents.left_out,
            file,
        })
    }

    /// The file.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Stored> {
        &self.tensors
    }

    /// A text that the writer put beside the tensors.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// What else the file holds: optimiser states, counters, objects. It is neither read nor run.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Compares the checksum of a region with what the file states.
    pub(super) fn verify(&self, region: usize) -> Result<(), Problem> {
        let region = self.regions[region];
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
        let (region, bytes) = (self.regions[stored.region], stored.dtype.bytes);
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
