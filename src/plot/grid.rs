//! Grids of images.

use super::canvas::{register, Picture, FONT};
use crate::words::dtype;
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;
use tch::{Kind, Tensor};

/// Pixels between images and around them.
const GAP: usize = 2;

/// Grey value of the gaps; neither ink nor paper of digits.
const GAP_GREY: u8 = 96;

/// Colour of pixels that are not finite: neither ink, paper nor gap, in grey images too.
const NOT_FINITE: [u8; 3] = [255, 0, 255];

/// Largest picture; 10,000 CIFAR-10 images fit at scale 3.
const MAX_PIXELS: usize = 100_000_000;

/// Width of the words beside the rows of [`save_pairs`].
const LABEL_WIDTH: usize = 84;

/// Saves images as a PNG grid, filled row by row.
///
/// `images` is `[N, C, H, W]` with C = 1 (grey) or 3 (RGB): bytes, or floating point in `[0, 256)`, which is
/// floored and clamped to 0..=255; pixels that are not finite become magenta. Every pixel becomes a square of `scale`
/// pixels. The last row may be incomplete.
///
/// # Errors
/// No image, too many of them, another shape or kind, `columns` or `scale` outside 1..=1000, or a path that
/// cannot be written.
pub fn save_grid(
    images: &Tensor,
    columns: usize,
    scale: usize,
    path: impl AsRef<Path>,
) -> Result<()> {
    let tiles = Tiles::new("save_grid", images)?;
    let layout = Layout::new("save_grid", &tiles, columns, scale, 0)?;
    let mut picture = layout.blank("save_grid", tiles.count.div_ceil(layout.columns))?;
    for i in 0..tiles.count {
        let cell = (i / layout.columns, i % layout.columns);
        layout.put(&mut picture, cell, &tiles, i);
    }
    picture.save(path.as_ref())
}

/// Checks whether [`save_grid`] can draw so many images of shape `[C, H, W]`, before they are made.
///
/// # Errors
/// As [`save_grid`].
pub fn check_grid(chw: [i64; 3], count: usize, columns: usize, scale: usize) -> Result<()> {
    let [channels, height, width] = chw.map(|size| size.max(0) as usize);
    if !matches!(channels, 1 | 3) {
        let problem = format!("must have 1 channel or 3 for a picture, got {channels}");
        return Err(Error::argument("save_grid", "images", problem));
    }
    let tiles = Tiles {
        count,
        channels,
        height,
        width,
        ..Tiles::default()
    };
    let layout = Layout::new("save_grid", &tiles, columns, scale, 0)?;
    layout
        .size("save_grid", count.div_ceil(layout.columns))
        .map(drop)
}

/// Saves originals above their reconstructions, rows labelled `original` and `decoded`; more images than
/// `columns` continue in further pairs of rows.
///
/// Both tensors are as in [`save_grid`] and of one shape.
///
/// # Errors
/// As [`save_grid`], or shapes that differ.
pub fn save_pairs(
    originals: &Tensor,
    reconstructions: &Tensor,
    columns: usize,
    scale: usize,
    path: impl AsRef<Path>,
) -> Result<()> {
    if originals.size() != reconstructions.size() {
        let problem = format!(
            "must have the shape of the originals, {:?}, got {:?}",
            originals.size(),
            reconstructions.size()
        );
        return Err(Error::argument("save_pairs", "reconstructions", problem));
    }
    let halves = [originals, reconstructions].map(|images| Tiles::new("save_pairs", images));
    let [above, below] = halves;
    let (above, below) = (above?, below?);
    let layout = Layout::new("save_pairs", &above, columns, scale, LABEL_WIDTH)?;
    let mut picture = layout.blank("save_pairs", 2 * above.count.div_ceil(layout.columns))?;
    for i in 0..above.count {
        let (row, column) = (2 * (i / layout.columns), i % layout.columns);
        layout.put(&mut picture, (row, column), &above, i);
        layout.put(&mut picture, (row + 1, column), &below, i);
    }
    layout.label_rows(&mut picture, &["original", "decoded"])?;
    picture.save(path.as_ref())
}

/// Images as bytes on the CPU.
#[derive(Default)]
pub(super) struct Tiles {
    pub count: usize,
    channels: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    /// Whether each pixel of each image is not finite in any channel; empty if all are.
    lost: Vec<u8>,
}

impl Tiles {
    pub(super) fn new(op: &'static str, images: &Tensor) -> Result<Self> {
        let problem = |problem: String| Error::argument(op, "images", problem);
        let size = images.size();
        let (count, channels, height, width) = match size[..] {
            [n, c @ (1 | 3), h, w] if n > 0 && h > 0 && w > 0 => {
                (n as usize, c as usize, h as usize, w as usize)
            }
            _ => {
                let text = format!("must be [N, 1 or 3, H, W] and not empty, got {size:?}");
                return Err(problem(text));
            }
        };
        let images = images.f_detach()?.f_to_device(tch::Device::Cpu)?;
        let mut lost = Vec::new();
        let bytes = match images.kind() {
            Kind::Uint8 => images.shallow_clone(),
            Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16 => {
                let finite = images.f_isfinite()?.f_all_dim(1, false)?;
                if finite.f_all()?.f_int64_value(&[])? == 0 {
                    let flags = finite.f_logical_not()?.f_to_kind(Kind::Uint8)?;
                    lost = Vec::try_from(flags.f_contiguous()?.f_view([-1])?)?;
                }
                images
                    .f_nan_to_num(0.0, 255.0, 0.0)?
                    .f_floor()?
                    .f_clamp(0, 255)?
                    .f_to_kind(Kind::Uint8)?
            }
            kind => {
                let text = format!("must be bytes or floating point, got {}", dtype(kind));
                return Err(problem(text));
            }
        };
        let pixels = Vec::try_from(bytes.f_contiguous()?.f_view([-1])?)?;
        Ok(Self {
            count,
            channels,
            height,
            width,
            pixels,
            lost,
        })
    }

    /// Image `i` by itself.
    pub(super) fn picture(&self, i: usize, scale: usize) -> Picture {
        let mut picture =
            Picture::new((self.width * scale) as u32, (self.height * scale) as u32, 0);
        for y in 0..self.height {
            for x in 0..self.width {
                picture.fill((x * scale, y * scale), scale, self.colour(i, y, x));
            }
        }
        picture
    }

    fn colour(&self, i: usize, y: usize, x: usize) -> [u8; 3] {
        let place = (i * self.height + y) * self.width + x;
        if self.lost.get(place).is_some_and(|&lost| lost > 0) {
            return NOT_FINITE;
        }
        [0, 1, 2].map(|c| {
            let channel = i * self.channels + c.min(self.channels - 1);
            self.pixels[(channel * self.height + y) * self.width + x]
        })
    }
}

/// Where images are in a picture.
struct Layout {
    columns: usize,
    scale: usize,
    /// Free space at the left.
    margin: usize,
    /// Height and width of an image and the gap after it.
    pitch: (usize, usize),
}

impl Layout {
    fn new(
        op: &'static str,
        tiles: &Tiles,
        columns: usize,
        scale: usize,
        margin: usize,
    ) -> Result<Self> {
        for (arg, value) in [("columns", columns), ("scale", scale)] {
            if !(1..=1000).contains(&value) {
                let problem = format!("must be from 1 to 1000, got {value}");
                return Err(Error::argument(op, arg, problem));
            }
        }
        Ok(Self {
            columns: columns.min(tiles.count),
            scale,
            margin,
            pitch: (tiles.height * scale + GAP, tiles.width * scale + GAP),
        })
    }

    fn size(&self, op: &'static str, rows: usize) -> Result<(usize, usize)> {
        let width = self.margin + GAP + self.columns * self.pitch.1;
        let height = GAP + rows.saturating_mul(self.pitch.0);
        if width.saturating_mul(height) > MAX_PIXELS {
            let problem = format!("make a picture of {width}x{height} pixels: use fewer of them");
            return Err(Error::argument(op, "images", problem));
        }
        Ok((width, height))
    }

    fn blank(&self, op: &'static str, rows: usize) -> Result<Picture> {
        let (width, height) = self.size(op, rows)?;
        Ok(Picture::new(width as u32, height as u32, GAP_GREY))
    }

    fn put(&self, picture: &mut Picture, (row, column): (usize, usize), tiles: &Tiles, i: usize) {
        let top = GAP + row * self.pitch.0;
        let left = self.margin + GAP + column * self.pitch.1;
        for y in 0..tiles.height {
            for x in 0..tiles.width {
                let corner = (left + x * self.scale, top + y * self.scale);
                picture.fill(corner, self.scale, tiles.colour(i, y, x));
            }
        }
    }

    /// Writes the labels in turn into the left margin of the rows.
    fn label_rows(&self, picture: &mut Picture, labels: &[&str]) -> Result<()> {
        register()?;
        let rows = picture.height as usize / self.pitch.0;
        let size = (picture.width, picture.height);
        let area = BitMapBackend::with_buffer(&mut picture.pixels, size).into_drawing_area();
        let style = (FONT, 18.0)
            .into_font()
            .color(&WHITE)
            .pos(Pos::new(HPos::Right, VPos::Center));
        for (row, label) in (0..rows).zip(labels.iter().cycle()) {
            let centre = GAP + row * self.pitch.0 + (self.pitch.0 - GAP) / 2;
            let at = (self.margin as i32 - 8, centre as i32);
            area.draw(&Text::new(*label, at, style.clone()))
                .map_err(|err| Error::config(format!("cannot write `{label}`: {err}")))?;
        }
        Ok(())
    }
}
