//! Numbered PNG files in a folder.

use super::manifest::Manifest;
use crate::files::place;
use crate::{Error, Result};
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The manifest in the folder.
pub(super) const MANIFEST: &str = "pictures.json";

/// Digits in a file's name, at least; then the names of a folder are in the order of the numbers.
const DIGITS: usize = 6;

/// A folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    chw: [i64; 3],
    digits: usize,
}

impl Folder {
    /// Checks that pictures can be written there: it is not there yet, empty, or has pictures of this program.
    ///
    /// # Errors
    /// It has something else in it, or cannot be written.
    pub(super) fn check(path: &Path) -> Result<()> {
        place::check_folder(path)?;
        if !path.exists() || Manifest::read(&path.join(MANIFEST))?.is_some() {
            return Ok(());
        }
        let mut inside = std::fs::read_dir(path).map_err(|err| Error::file(path, err))?;
        match inside.next() {
            None => Ok(()),
            Some(_) => Err(Error::file(
                path,
                format!("is not empty and holds no {MANIFEST}: choose another folder for --out"),
            )),
        }
    }

    /// The folder for `count` pictures, which is made if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(path: &Path, chw: [i64; 3], count: u64) -> Result<Self> {
        place::make_folder(path)?;
        let last = count.saturating_sub(1).to_string();
        Ok(Self {
            path: path.to_path_buf(),
            chw,
            digits: last.len().max(DIGITS),
        })
    }

    fn file(&self, image: u64) -> PathBuf {
        self.path
            .join(format!("{image:0width$}.png", width = self.digits))
    }

    /// Whether all of these pictures are there, and whole: every PNG has checksums of its content.
    pub(super) fn has(&self, images: Range<u64>) -> bool {
        let [c, h, w] = self.chw;
        images.into_iter().all(|image| {
            let bytes = std::fs::read(self.file(image)).unwrap_or_default();
            let read = image::load_from_memory_with_format(&bytes, ImageFormat::Png);
            read.is_ok_and(|picture| {
                let size = [i64::from(picture.height()), i64::from(picture.width())];
                let channels = match picture {
                    DynamicImage::ImageLuma8(_) => 1,
                    DynamicImage::ImageRgb8(_) => 3,
                    _ => 0,
                };
                size == [h, w] && channels == c
            })
        })
    }

    /// Writes a picture, bytes `[H, W, C]`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn put(&self, image: u64, pixels: &[u8]) -> Result<()> {
        let path = self.file(image);
        let [c, h, w] = self.chw;
        let colours = match c {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(pixels, w as u32, h as u32, colours)
            .map_err(|err| Error::file(&path, format!("cannot encode as PNG: {err}")))?;
        place::write_in_series(&path, &png)
    }
}
