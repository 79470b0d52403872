//! Images one after the other, in one file that moves.

use super::canvas::{write, Picture};
use super::grid::Tiles;
use crate::{Error, Result};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use tch::Tensor;

/// Saves images `[N, C, H, W]` as the frames of an animation that begins anew at its end: a GIF if the path ends so, else an
/// animated PNG. Images and pixels are those of [`save_grid`](super::save_grid); a GIF has 256 colours a frame, which are all
/// greys and an approximation of other images.
///
/// # Errors
/// As [`save_grid`](super::save_grid).
pub fn save_film(images: &Tensor, scale: usize, pause: Duration, path: &Path) -> Result<()> {
    let tiles = Tiles::new("save_film", images)?;
    let frames: Vec<Picture> = (0..tiles.count).map(|i| tiles.picture(i, scale)).collect();
    let bytes = match path.extension() {
        Some(ending) if ending == "gif" => gif(frames, pause).map_err(|err| failed(path, &err))?,
        _ => apng(&frames, pause).map_err(|err| failed(path, &err))?,
    };
    write(path, &bytes)
}

fn failed(path: &Path, err: &dyn Display) -> Error {
    Error::file(path, format!("cannot encode the animation: {err}"))
}

fn gif(frames: Vec<Picture>, pause: Duration) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.set_repeat(Repeat::Infinite)?;
    for frame in frames {
        let pixels = frame
            .pixels
            .chunks_exact(3)
            .flat_map(|p| [p[0], p[1], p[2], 255]);
        let picture = RgbaImage::from_raw(frame.width, frame.height, pixels.collect());
        let delay = Delay::from_saturating_duration(pause);
        encoder.encode_frame(Frame::from_parts(picture.unwrap_or_default(), 0, 0, delay))?;
    }
    drop(encoder);
    Ok(bytes)
}

fn apng(frames: &[Picture], pause: Duration) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let (width, height) = frames
        .first()
        .map_or((0, 0), |first| (first.width, first.height));
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(frames.len() as u32, 0)?;
    encoder.set_frame_delay(pause.as_millis() as u16, 1000)?;
    let mut writer = encoder.write_header()?;
    for frame in frames {
        writer.write_image_data(&frame.pixels)?;
    }
    writer.finish()?;
    Ok(bytes)
}
