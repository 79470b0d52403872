//! An RGB picture, how it becomes a PNG file, and the font.

use crate::{files, Error, Result};
use image::{ExtendedColorType, ImageEncoder};
use plotters::style::{register_font, FontStyle};
use std::path::Path;
use std::sync::OnceLock;

/// The name under which the embedded font is known to plotters.
pub(super) const FONT: &str = "sans-serif";

/// 8-bit RGB pixels, row by row.
#[derive(Debug)]
pub(super) struct Picture {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

impl Picture {
    /// A picture of one grey value.
    pub fn new(width: u32, height: u32, grey: u8) -> Self {
        Self {
            width,
            height,
            pixels: vec![grey; width as usize * height as usize * 3],
        }
    }

    /// Fills a square of `side` pixels whose top left corner is at `(x, y)`.
    pub fn fill(&mut self, (x, y): (usize, usize), side: usize, colour: [u8; 3]) {
        let row_len = self.width as usize * 3;
        for row in self.pixels.chunks_exact_mut(row_len).skip(y).take(side) {
            for pixel in row[3 * x..3 * (x + side)].chunks_exact_mut(3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// The picture `factor` times smaller, every pixel the mean of a square; rows and columns that fill no
    /// square are left out.
    pub fn shrunk(&self, factor: u32) -> Self {
        let (width, height) = (self.width / factor, self.height / factor);
        let mut small = Self::new(width, height, 0);
        let square = || (0..factor).flat_map(|y| (0..factor).map(move |x| (x, y)));
        for (i, value) in small.pixels.iter_mut().enumerate() {
            let (pixel, channel) = (i as u32 / 3, i % 3);
            let (left, top) = (pixel % width * factor, pixel / width * factor);
            let values = square().map(|(x, y)| {
                let pixel = (top + y) as usize * self.width as usize + (left + x) as usize;
                u32::from(self.pixels[3 * pixel + channel])
            });
            *value = (values.sum::<u32>() / (factor * factor)) as u8;
        }
        small
    }

    /// Writes the picture as a PNG file; its folder is made if need be.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut png = Vec::new();
        image::codecs::png::PngEncoder::new(&mut png)
            .write_image(
                &self.pixels,
                self.width,
                self.height,
                ExtendedColorType::Rgb8,
            )
            .map_err(|err| Error::file(path, format!("cannot encode as PNG: {err}")))?;
        write(path, &png)
    }
}

/// Writes a file; its folder is made if need be.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::make_folder_of(path)?;
    files::write(path, bytes)
}

/// Makes the embedded font known to plotters: pictures must not depend on what a machine has installed.
pub(super) fn register() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = *REGISTERED.get_or_init(|| {
        let bytes = epaint_default_fonts::UBUNTU_LIGHT;
        register_font(FONT, FontStyle::Normal, bytes).is_ok()
    });
    match registered {
        true => Ok(()),
        false => Err(Error::config("the embedded font cannot be read")),
    }
}
