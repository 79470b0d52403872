//! Where pictures go: one grid, a folder of numbered PNG files, or one array; many of them batch by batch.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | [`Target`]: which of them `--format` and `--out` mean; [`Gallery`]: an unfinished folder or array |
//! | `fill` | [`Filling`]: from latents to pictures on the disk |
//! | `manifest` | what stands beside the pictures: the settings they were made with, and whether they are complete |
//! | `folder`, `array` | numbered PNG files; one `.npy` file |
//!
//! A command that is stopped goes on where it stopped when it is given again: whole batches are made again, so that every
//! picture is the same to the byte.

mod array;
mod fill;
mod folder;
mod manifest;

use super::out;
use crate::files::place;
use crate::train::Decoding;
use crate::{Error, Result};
use array::Array;
use clap::ValueEnum;
pub use fill::Filling;
use folder::Folder;
use manifest::Manifest;
pub use manifest::Settings;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// In which form pictures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One picture of all, row by row
    Grid,
    /// A folder of numbered PNG files
    Png,
    /// One array of NumPy, [N, H, W, C] bytes
    Npy,
}

/// Where pictures are written, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One PNG file.
    Grid(PathBuf),
    /// A folder.
    Folder(PathBuf),
    /// One `.npy` file.
    Array(PathBuf),
}

impl Target {
    /// What `--format` and `--out` mean together; without a format the name says it.
    ///
    /// # Errors
    /// A name that does not belong to the format.
    pub fn of(format: Option<Format>, path: &Path) -> Result<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy());
        let format = format.unwrap_or(match ending.as_deref() {
            _ if place::is_device(path) => Format::Grid,
            _ if path.is_dir() => Format::Png,
            None => Format::Png,
            Some("npy") => Format::Npy,
            Some(_) => Format::Grid,
        });
        let own = path.to_path_buf();
        Ok(match format {
            Format::Grid if place::is_device(path) => Self::Grid(own),
            Format::Grid => {
                out::ending("--out", path, &["png"]).map_err(|err| {
                    Error::config(format!(
                        "{err}; or give an .npy or a folder for single pictures"
                    ))
                })?;
                Self::Grid(own)
            }
            Format::Npy => {
                out::ending("--out", path, &["npy"])?;
                Self::Array(own)
            }
            Format::Png if ending.is_some_and(|ending| ["png", "npy", "jpg"].contains(&&*ending)) => {
                return Err(Error::config(format!(
                    "{}: --format png writes numbered files into a folder: give --out a folder, or leave --format out",
                    path.display()
                )))
            }
            Format::Png => Self::Folder(own),
        })
    }

    /// Checks that it can be written.
    ///
    /// # Errors
    /// Something else is there, or nothing can be written.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Grid(path) if place::is_device(path) => Ok(()),
            Self::Grid(path) => place::check_place(path),
            Self::Folder(path) => Folder::check(path),
            Self::Array(path) => Array::check(path),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Grid(path) | Self::Folder(path) | Self::Array(path) => path,
        }
    }
}

/// A folder or an array of pictures in the making.
#[derive(Debug)]
pub struct Gallery {
    pages: Pages,
    manifest: Manifest,
    chw: [i64; 3],
}

#[derive(Debug)]
enum Pages {
    Folder(Folder),
    Array(Array),
}

impl Gallery {
    /// Begins a gallery of pictures of shape `chw`, or goes on with one; with it the batches that are missing.
    ///
    /// # Errors
    /// Pictures that were made with other settings, which are named; a grid; a file that cannot be written.
    pub fn open(
        target: &Target,
        settings: Settings,
        chw: [i64; 3],
        decoding: &Decoding<'_>,
    ) -> Result<(Self, Vec<u64>)> {
        let (pages, manifest, missing) = match target {
            Target::Grid(path) => return Err(Error::file(path, "is one picture")),
            Target::Folder(path) => {
                if !matches!(chw[0], 1 | 3) {
                    return Err(Error::config(format!(
                        "PNG files have 1 channel or 3, these images have {}: write an .npy",
                        chw[0]
                    )));
                }
                let manifest = Manifest::open(path.join(folder::MANIFEST), path, settings)?;
                let folder = Folder::open(path, chw, decoding.count)?;
                let missing = (0..decoding.batches())
                    .filter(|&batch| !folder.has(decoding.images(batch)))
                    .collect();
                (Pages::Folder(folder), manifest, missing)
            }
            Target::Array(path) => {
                let manifest = Manifest::open(array::manifest(path), path, settings)?;
                let (array, done) = Array::open(path, chw, decoding)?;
                let missing = (done..decoding.batches()).collect();
                (Pages::Array(array), manifest, missing)
            }
        };
        let gallery = Self {
            pages,
            manifest,
            chw,
        };
        Ok((gallery, missing))
    }

    /// Adds pictures, bytes `[N, C, H, W]`, in order.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn put(&mut self, images: Range<u64>, pixels: &Tensor) -> Result<()> {
        let pixels = pixels.f_permute([0, 2, 3, 1])?.f_contiguous()?;
        let pixels = Vec::<u8>::try_from(pixels.f_to_kind(Kind::Uint8)?.f_view([-1])?)?;
        let size = self.chw.iter().product::<i64>() as usize;
        match &mut self.pages {
            Pages::Array(array) => array.put(&pixels),
            Pages::Folder(folder) => images
                .zip(pixels.chunks_exact(size))
                .try_for_each(|(image, pixels)| folder.put(image, pixels)),
        }
    }

    /// Says in the manifest that all pictures are there.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(self) -> Result<()> {
        if let Pages::Array(array) = self.pages {
            array.finish()?;
        }
        self.manifest.finish()
    }
}
