//! One drawing, two kinds of file: PNG through a bitmap that is averaged down, SVG as it is.

use super::canvas::{register, write, Picture, FONT};
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Size of a chart in pixels.
pub(super) const SIZE: (u32, u32) = (900, 540);

/// Bitmaps are drawn this many times larger and averaged down: plotters' bitmap lines have hard edges.
const OVERSAMPLING: u32 = 3;

/// Colours of lines and markers, told apart by colour-blind readers too (Okabe and Ito, Color Universal Design, 2008).
pub(super) const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(150, 150, 60),
];

/// Colour of text.
pub(super) const INK: RGBColor = RGBColor(51, 51, 51);

/// What drawing on a backend returns.
pub(super) type Drawn<B> =
    std::result::Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// How many pixels of the backend a pixel of the finished chart is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale(u32);

impl Scale {
    /// One pixel for one.
    pub const ONE: Self = Self(1);

    /// A length in pixels of the finished chart.
    pub fn px(self, length: u32) -> u32 {
        length * self.0
    }

    /// The font at a size in pixels of the finished chart.
    pub fn font(self, size: u32) -> TextStyle<'static> {
        (FONT, self.px(size)).into_font().color(&INK)
    }
}

/// Something that can be drawn on any backend.
pub(super) trait Drawing {
    /// Pixels of the finished picture.
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    /// Draws it into an area of its size times the scale.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: Scale) -> Drawn<B>;
}

/// Saves a drawing as SVG if the path ends so, else as PNG.
pub(super) fn render(drawing: &impl Drawing, path: &Path) -> Result<()> {
    register()?;
    let failed = |err: &dyn std::fmt::Display| Error::file(path, format!("cannot be drawn: {err}"));
    if path.extension().is_some_and(|extension| extension == "svg") {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, drawing.size()).into_drawing_area();
        area.fill(&WHITE).map_err(|err| failed(&err))?;
        drawing.draw(&area, Scale(1)).map_err(|err| failed(&err))?;
        drop(area);
        return write(path, text.as_bytes());
    }
    let (width, height) = drawing.size();
    let mut large = Picture::new(width * OVERSAMPLING, height * OVERSAMPLING, 255);
    let size = (large.width, large.height);
    let area = BitMapBackend::with_buffer(&mut large.pixels, size).into_drawing_area();
    drawing
        .draw(&area, Scale(OVERSAMPLING))
        .map_err(|err| failed(&err))?;
    drop(area);
    large.shrunk(OVERSAMPLING).save(path)
}
