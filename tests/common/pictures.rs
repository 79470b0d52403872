//! Small picture files of every kind that folders have, made when a test needs them.

#![allow(dead_code)] // every program of tests uses a part of it

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use std::fs;
use std::io::Cursor;
use std::path::Path;

/// Writes a file, and the folders above it.
pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A number that looks random in 0..=255, of three counters.
pub fn byte(number: u32, x: u32, y: u32) -> u8 {
    let mixed = (number * 73 + x * 29 + y * 151 + 7).wrapping_mul(2_654_435_761);
    (mixed >> 24) as u8
}

/// A picture as the bytes of a file.
pub fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn grey(number: u32, w: u32, h: u32) -> DynamicImage {
    ImageBuffer::from_fn(w, h, |x, y| Luma([byte(number, x, y)])).into()
}

pub fn colour(number: u32, w: u32, h: u32) -> DynamicImage {
    let pixel = |x, y| [0, 1, 2].map(|c| byte(number + c, x, y));
    ImageBuffer::from_fn(w, h, |x, y| Rgb(pixel(x, y))).into()
}

pub fn transparent(number: u32, w: u32, h: u32) -> DynamicImage {
    let pixel = |x, y| [0, 1, 2, 3].map(|c| byte(number + c, x, y));
    ImageBuffer::from_fn(w, h, |x, y| Rgba(pixel(x, y))).into()
}

pub fn grey_transparent(number: u32, w: u32, h: u32) -> DynamicImage {
    let pixel = |x, y| [0, 1].map(|c| byte(number + c, x, y));
    ImageBuffer::from_fn(w, h, |x, y| LumaA(pixel(x, y))).into()
}

pub fn deep(number: u32, w: u32, h: u32) -> DynamicImage {
    let pixel = |x, y| [0, 1, 2].map(|c| u16::from(byte(number + c, x, y)) * 257);
    ImageBuffer::<Rgb<u16>, _>::from_fn(w, h, |x, y| Rgb(pixel(x, y))).into()
}

pub fn deep_grey(number: u32, w: u32, h: u32) -> DynamicImage {
    let pixel = |x, y| u16::from(byte(number, x, y)) * 257;
    ImageBuffer::<Luma<u16>, _>::from_fn(w, h, |x, y| Luma([pixel(x, y)])).into()
}

pub fn png(picture: &DynamicImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

/// A JPEG of 8x8 in four colours, each of which has one value everywhere, as Photoshop writes it: inverted.
///
/// Baseline, one block a component: the average alone, in a code of nine categories of four bits each, then the end of the
/// block in one bit.
pub fn cmyk_jpeg(ink: [u8; 4]) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    let mut segment = |marker: u8, content: &[u8]| {
        file.extend([0xff, marker]);
        file.extend((content.len() as u16 + 2).to_be_bytes());
        file.extend(content);
    };
    // Adobe's mark with no transformation of colours
    segment(0xee, b"Adobe\0\x64\0\0\0\0\0");
    // every coefficient is divided by 8, which makes the average of a block its own value
    segment(0xdb, &[&[0][..], &[8; 64]].concat());
    let components: Vec<u8> = (1..=4).flat_map(|id| [id, 0x11, 0]).collect();
    segment(0xc0, &[&[8, 0, 8, 0, 8, 4][..], &components].concat());
    let average = [
        &[0x00][..],
        &[0, 0, 0, 9],
        &[0; 12],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8],
    ]
    .concat();
    segment(0xc4, &average);
    segment(0xc4, &[&[0x10][..], &[1], &[0; 15], &[0]].concat());
    let scanned: Vec<u8> = (1..=4).flat_map(|id| [id, 0]).collect();
    segment(0xda, &[&[4][..], &scanned, &[0, 63, 0]].concat());
    let mut bits = String::new();
    for value in ink {
        let difference = i32::from(255 - value) - 128;
        let size = (32 - difference.unsigned_abs().leading_zeros()) as usize;
        let low = match difference < 0 {
            true => difference - 1 + (1 << size),
            false => difference,
        };
        bits += &format!("{size:04b}");
        if size > 0 {
            bits += &format!("{low:0size$b}");
        }
        bits += "0";
    }
    while !bits.len().is_multiple_of(8) {
        bits += "1";
    }
    for start in (0..bits.len()).step_by(8) {
        let byte = u8::from_str_radix(&bits[start..start + 8], 2).unwrap();
        file.push(byte);
        if byte == 0xff {
            file.push(0);
        }
    }
    file.extend([0xff, 0xd9]);
    file
}

/// A JPEG that says in its EXIF that it is to be turned.
pub fn turned_jpeg(picture: &DynamicImage, orientation: u8) -> Vec<u8> {
    let plain = encoded(picture, ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend([0, orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&plain[..2], &[0xff, 0xe1], &length, &exif, &plain[2..]].concat()
}

/// A PNG of a few bytes that claims to be of any size.
pub fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8], content: &[u8]| {
        let named = [name, content].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&named);
        file.extend((content.len() as u32).to_be_bytes());
        file.extend(&named);
        file.extend(crc.sum().to_be_bytes());
    };
    let [width, height] = [width, height].map(u32::to_be_bytes);
    chunk(b"IHDR", &[&width[..], &height, &[8, 2, 0, 0, 0]].concat());
    // deflated nothing
    chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    file
}
