//! Writes packed files ([`packed`](super::packed)), image by image: the memory that it takes does not grow with the data.

use super::found::short;
use super::packed::{About, MARK};
use crate::data::{Dataset, Split};
use crate::files::{write_with, WriteSeek};
use crate::{Error, Result};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::SeekFrom;
use std::path::Path;

/// Images and labels that are written at a time.
pub(super) type Part = (Vec<u8>, Vec<u16>);

/// A file in the making.
pub(super) struct Packer<'a> {
    path: &'a Path,
    file: &'a mut dyn WriteSeek,
    chw: [i64; 3],
    hash: Sha256,
    tensors: Vec<(String, TensorInfo)>,
    /// Bytes behind the header so far.
    written: usize,
    /// Length of the header's text, which is written last.
    header: usize,
}

/// Writes a packed file; `content` writes the splits, in the order train, val, test.
///
/// # Errors
/// That of `content`, or the file cannot be written.
pub(super) fn pack(
    path: &Path,
    chw: [i64; 3],
    classes: &[String],
    content: impl FnOnce(&mut Packer<'_>) -> Result<()>,
) -> Result<()> {
    write_with(path, |file| {
        let about = |fingerprint| About {
            fingerprint,
            classes: classes.to_vec(),
        };
        // as long as any: what is shorter is filled up with spaces, which the format allows
        let longest = {
            let all = ["train", "val", "test"]
                .map(|split| tensors(split, u32::MAX as usize, chw, 1 << 60));
            header(&about("0".repeat(32)), all.concat(), false)
                .map_err(|err| Error::file(path, err))?
        };
        let mut packer = Packer {
            path,
            file,
            chw,
            hash: Sha256::new(),
            tensors: Vec::new(),
            written: 0,
            header: longest.len().next_multiple_of(8),
        };
        let blank = vec![b' '; 8 + packer.header];
        packer.put(&blank)?;
        content(&mut packer)?;
        let fingerprint = short(std::mem::take(&mut packer.hash));
        let mut text = header(
            &about(fingerprint),
            std::mem::take(&mut packer.tensors),
            true,
        )
        .map_err(|err| Error::file(path, err))?;
        text.extend(vec![b' '; packer.header.saturating_sub(text.len())]);
        packer.seek_to_start()?;
        packer.put(&(text.len() as u64).to_le_bytes())?;
        packer.put(&text)
    })
}

impl Packer<'_> {
    /// Writes a split, part by part; every part has images of the file's size.
    pub(super) fn split(
        &mut self,
        split: Split,
        parts: impl Iterator<Item = Result<Part>>,
    ) -> Result<usize> {
        let mut labels = Vec::new();
        for part in parts {
            let (pixels, of_part) = part?;
            self.data(&pixels)?;
            labels.extend(of_part);
        }
        let bytes: Vec<u8> = labels
            .iter()
            .flat_map(|label| label.to_le_bytes())
            .collect();
        let start = self.written - labels.len() * self.chw.iter().product::<i64>() as usize;
        self.data(&bytes)?;
        let tensors = tensors(&split.to_string(), labels.len(), self.chw, start);
        self.tensors.extend(tensors);
        Ok(labels.len())
    }

    /// Writes a split that is there already, a few images at a time.
    pub(super) fn data_set(&mut self, split: Split, data: &Dataset) -> Result<usize> {
        const AT_A_TIME: usize = 1024;
        let starts = (0..data.len()).step_by(AT_A_TIME);
        self.split(
            split,
            starts.map(|start| {
                let part = data.subset(start..start + AT_A_TIME);
                Ok((part.pixels()?, part.labels))
            }),
        )
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.written += bytes.len();
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(|err| Error::file(self.path, format!("cannot be written: {err}")))
    }

    fn seek_to_start(&mut self) -> Result<()> {
        let moved = self.file.seek(SeekFrom::Start(0));
        moved
            .map(|_| ())
            .map_err(|err| Error::file(self.path, format!("cannot be written: {err}")))
    }
}

/// The entries of a split whose images begin at `start`.
fn tensors(split: &str, count: usize, chw: [i64; 3], start: usize) -> Vec<(String, TensorInfo)> {
    let [c, h, w] = chw.map(|size| size as usize);
    let middle = start + count * c * h * w;
    let info = |dtype, shape, data_offsets| TensorInfo {
        dtype,
        shape,
        data_offsets,
    };
    vec![
        (
            format!("{split}.images"),
            info(Dtype::U8, vec![count, c, h, w], (start, middle)),
        ),
        (
            format!("{split}.labels"),
            info(Dtype::U16, vec![count], (middle, middle + 2 * count)),
        ),
    ]
}

/// The text of a header. The format's own rules are checked, but for one that only measures how long it can get.
fn header(
    about: &About,
    tensors: Vec<(String, TensorInfo)>,
    check: bool,
) -> Result<Vec<u8>, String> {
    let about = serde_json::to_string(about).map_err(|err| err.to_string())?;
    let texts = HashMap::from([(MARK.to_owned(), about)]);
    if check {
        let header = Metadata::new(Some(texts), tensors).map_err(|err| err.to_string())?;
        return serde_json::to_vec(&header).map_err(|err| err.to_string());
    }
    let mut all = serde_json::Map::new();
    all.insert("__metadata__".to_owned(), serde_json::json!(texts));
    for (name, info) in tensors {
        all.insert(name, serde_json::json!(info));
    }
    serde_json::to_vec(&all).map_err(|err| err.to_string())
}
