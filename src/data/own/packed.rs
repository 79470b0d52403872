//! One safetensors file with all images of a source, split and of one size: what `data pack` writes.
//!
//! Nothing is read but its header; the bytes of images are read when they are needed. Other programs find in it the tensors
//! `train.images` `[N, C, H, W]` of bytes and `train.labels` `[N]` of 16 bits, and the same of `val` and `test`.

use super::found::short;
use crate::data::pixels::Pixels;
use crate::data::{Dataset, Split};
use crate::words::counted;
use crate::{Error, Result};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The entry of the header by which such a file is known; its value is an [`About`].
pub(super) const MARK: &str = "inverse_flow.packed";

/// What the header says besides names and sizes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct About {
    /// Hash of all bytes behind the header.
    pub fingerprint: String,
    pub classes: Vec<String>,
}

/// Longest header that is read.
const MAX_HEADER: u64 = 1 << 24;

/// A file whose header has been read.
#[derive(Debug)]
pub(super) struct Packed {
    path: PathBuf,
    pixels: Pixels,
    header: Metadata,
    /// Where the numbers begin.
    start: u64,
    chw: [i64; 3],
    about: About,
}

impl Packed {
    /// Opens a file; `None` if it is another one.
    ///
    /// # Errors
    /// A packed file that is cut off or damaged.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        let failed = |err: std::io::Error| Error::file(path, err);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut size = [0; 8];
        if length < 8 {
            return Ok(None);
        }
        file.read_exact_at(&mut size, 0).map_err(failed)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER.min(length - 8) {
            return Ok(None);
        }
        let mut json = vec![0; size as usize];
        file.read_exact_at(&mut json, 8).map_err(failed)?;
        let Ok(header) = serde_json::from_slice::<Metadata>(&json) else {
            return Ok(None);
        };
        let texts = header.metadata().as_ref();
        let Some(about) = texts.and_then(|texts| texts.get(MARK)) else {
            return Ok(None);
        };
        let about: About = serde_json::from_str(about)
            .map_err(|err| Error::file(path, format!("damaged header: {err}")))?;
        let start = 8 + size;
        if header.data_len() as u64 != length - start {
            return Err(Error::file(
                path,
                format!(
                    "truncated: its header speaks of {} of images and labels, it has {}",
                    counted(header.data_len(), "byte"),
                    length - start
                ),
            ));
        }
        let shape = header.info("train.images").map(|info| info.shape.clone());
        let Some([_, c, h, w]) = shape.as_deref() else {
            return Err(Error::file(path, "is packed, but has no `train.images`"));
        };
        let chw = [*c, *h, *w].map(|size| size as i64);
        Ok(Some(Self {
            path: path.to_path_buf(),
            pixels: Pixels::file(path, file, start..length),
            header,
            start,
            chw,
            about,
        }))
    }

    /// `[C, H, W]` of an image.
    pub(super) fn chw(&self) -> [i64; 3] {
        self.chw
    }

    /// What the source held.
    pub(super) fn fingerprint(&self) -> &str {
        &self.about.fingerprint
    }

    /// Compares all bytes with their hash.
    ///
    /// # Errors
    /// They are not those that were packed.
    pub(super) fn check(&self) -> Result<()> {
        const AT_A_TIME: u64 = 1 << 20;
        let (mut hash, mut bytes) = (Sha256::new(), vec![0; AT_A_TIME as usize]);
        let length = self.pixels.len();
        for start in (0..length).step_by(AT_A_TIME as usize) {
            let part = &mut bytes[..AT_A_TIME.min(length - start) as usize];
            self.pixels.read(start, part)?;
            hash.update(part);
        }
        if short(hash) == self.about.fingerprint {
            return Ok(());
        }
        let problem = "is damaged: its bytes are not those that were packed; pack the source again";
        Err(Error::file(&self.path, problem))
    }

    /// One split; its images stay in the file.
    ///
    /// # Errors
    /// A tensor that is not what it should be.
    pub(super) fn split(&self, split: Split) -> Result<Dataset> {
        let [images, labels] = ["images", "labels"].map(|part| format!("{split}.{part}"));
        let of = |name: &str, dtype: Dtype| -> Result<&TensorInfo> {
            let info = self.header.info(name).filter(|info| info.dtype == dtype);
            info.ok_or_else(|| {
                Error::file(
                    &self.path,
                    format!("is packed, but has no `{name}` of {dtype}"),
                )
            })
        };
        let (pixels, numbers) = (of(&images, Dtype::U8)?, of(&labels, Dtype::U16)?);
        let place = |info: &TensorInfo| {
            let (start, end) = info.data_offsets;
            self.start + start as u64..self.start + end as u64
        };
        let stored = self.pixels.elsewhere(place(numbers));
        let mut labels = vec![0; stored.len() as usize];
        stored.read(0, &mut labels)?;
        let labels = labels
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let mut data = Dataset::of_pixels(
            format!("{} {split}", self.path.display()),
            self.chw,
            self.pixels.elsewhere(place(pixels)),
            labels.collect(),
        )?;
        data.classes.clone_from(&self.about.classes);
        Ok(data)
    }
}
