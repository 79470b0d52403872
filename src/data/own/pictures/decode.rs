//! From the bytes of a file to an image of the wanted size.

use super::jpeg;
use crate::data::{Background, Fit};
use image::imageops::FilterType;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage,
};
use std::io::Cursor;

/// Pixels of the largest picture that is read, 8192 x 8192. A small file can claim to be any size.
const MAX_PIXELS: u64 = 1 << 26;

/// The formats that are read.
const FORMATS: [ImageFormat; 5] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
];

/// What all pictures are brought to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub chw: [i64; 3],
    /// Whether grey and colour are brought to `chw`, or must be so already.
    pub any_colour: bool,
    pub fit: Fit,
    pub background: Background,
}

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The file cannot be read.
    Damaged(String),
    /// It can, but is of another size: `[C, H, W]`, and what would mend it.
    Size([i64; 3], &'static str),
}

/// The picture in a file, as it is to be seen.
///
/// # Errors
/// No picture, a damaged one, or one that is too large.
pub(super) fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    if bytes.is_empty() {
        return Err("is empty".into());
    }
    let format = image::guess_format(bytes)
        .ok()
        .filter(|format| FORMATS.contains(format))
        .ok_or("is no picture: its content is not that of a PNG, JPEG, WebP, BMP or TIFF")?;
    let damaged = |err: image::ImageError| format!("is damaged: {}", one_line(&err.to_string()));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // the size is looked at below, and this is for what decoders need besides
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(16 * MAX_PIXELS);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("is damaged: it is {width}x{height}"));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "is a picture of {width}x{height} in {}; at most {MAX_PIXELS} pixels are read",
            crate::words::counted(bytes.len(), "byte")
        ));
    }
    if format == ImageFormat::Jpeg && !jpeg::is_whole(bytes) {
        return Err("is damaged: truncated JPEG".into());
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// `[C, H, W]` of a picture by itself.
pub(super) fn natural(picture: &DynamicImage) -> [i64; 3] {
    let channels = if picture.color().has_color() { 3 } else { 1 };
    [channels, picture.height().into(), picture.width().into()]
}

/// The picture as `C * H * W` bytes, channel by channel, row by row.
pub(super) fn fitted(picture: DynamicImage, wanted: &Wanted) -> Result<Vec<u8>, Problem> {
    let [channels, h, w] = wanted.chw;
    let size @ [own_channels, own_h, own_w] = natural(&picture);
    if !wanted.any_colour && own_channels != channels {
        return Err(Problem::Size(size, "resize"));
    }
    let flat = flat(&picture, channels as usize, wanted.background);
    let refused = |way| Err(Problem::Size(size, way));
    let (same, larger, smaller) = (
        (own_h, own_w) == (h, w),
        own_h > h || own_w > w,
        own_h < h || own_w < w,
    );
    let sides = (w as u32, h as u32);
    let offset = |own: i64, side: i64| ((own - side).abs() / 2) as u32;
    let image = match wanted.fit {
        _ if same => flat,
        Fit::Error => return refused("resize"),
        Fit::Pad if larger => return refused("resize"),
        Fit::Crop if smaller => return refused("resize"),
        Fit::Pad => {
            let mut canvas = canvas(channels as usize, sides, wanted.background);
            let at = (offset(own_w, w).into(), offset(own_h, h).into());
            image::imageops::replace(&mut canvas, &flat, at.0, at.1);
            same_colour(canvas, channels as usize)
        }
        Fit::Crop => flat.crop_imm(offset(own_w, w), offset(own_h, h), sides.0, sides.1),
        Fit::Resize => flat.resize_exact(sides.0, sides.1, FilterType::Triangle),
    };
    Ok(planes(&image))
}

/// Without alpha, 8 bits a channel, grey or colour.
fn flat(picture: &DynamicImage, channels: usize, background: Background) -> DynamicImage {
    let opaque = if picture.color().has_alpha() {
        let mut opaque = RgbImage::new(picture.width(), picture.height());
        for (to, from) in opaque.pixels_mut().zip(picture.to_rgba8().pixels()) {
            let alpha = u32::from(from[3]);
            let mixed = |i: usize| {
                let (front, back) = (u32::from(from[i]), u32::from(background.0[i]));
                ((front * alpha + back * (255 - alpha) + 127) / 255) as u8
            };
            *to = Rgb([mixed(0), mixed(1), mixed(2)]);
        }
        DynamicImage::ImageRgb8(opaque)
    } else {
        DynamicImage::ImageRgb8(match channels {
            1 => return DynamicImage::ImageLuma8(picture.to_luma8()),
            _ => picture.to_rgb8(),
        })
    };
    same_colour(opaque, channels)
}

fn same_colour(picture: DynamicImage, channels: usize) -> DynamicImage {
    match channels {
        1 => DynamicImage::ImageLuma8(picture.to_luma8()),
        _ => DynamicImage::ImageRgb8(picture.to_rgb8()),
    }
}

fn canvas(channels: usize, (width, height): (u32, u32), background: Background) -> DynamicImage {
    match channels {
        1 => {
            let grey = image::Luma([background.of(0, 1)]);
            DynamicImage::ImageLuma8(GrayImage::from_pixel(width, height, grey))
        }
        _ => {
            let colour = Rgb(background.0);
            DynamicImage::ImageRgb8(RgbImage::from_pixel(width, height, colour))
        }
    }
}

/// Channel by channel instead of pixel by pixel.
fn planes(image: &DynamicImage) -> Vec<u8> {
    let channels = usize::from(image.color().channel_count());
    let bytes = image.as_bytes();
    (0..channels)
        .flat_map(|channel| bytes.iter().skip(channel).step_by(channels).copied())
        .collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
