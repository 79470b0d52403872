//! How pictures of several sizes become images of one size.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What happens to a picture of another size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// It is an error.
    #[default]
    Error,
    /// A smaller one gets a border of the background; a larger one is an error.
    Pad,
    /// A larger one loses its border; a smaller one is an error.
    Crop,
    /// It is scaled to the size, each side by itself.
    Resize,
}

impl FromStr for Fit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "error" => Ok(Self::Error),
            "pad" => Ok(Self::Pad),
            "crop" => Ok(Self::Crop),
            "resize" => Ok(Self::Resize),
            _ => Err(Error::config(format!(
                "unknown way to fit `{text}`: choose error, pad, crop or resize"
            ))),
        }
    }
}

/// The colour behind transparent pixels and in borders; black unless another one is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Background(pub [u8; 3]);

impl Background {
    /// Its value in a channel of an image of so many channels.
    pub(super) fn of(self, channel: usize, channels: usize) -> u8 {
        match channels {
            1 => {
                let [r, g, b] = self.0.map(u32::from);
                // the weights by which colours become grey everywhere here, of ITU-R BT.709
                ((2126 * r + 7152 * g + 722 * b + 5000) / 10_000) as u8
            }
            _ => self.0[channel.min(2)],
        }
    }
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [0, 0, 0] => f.write_str("black"),
            [255, 255, 255] => f.write_str("white"),
            [r, g, b] => write!(f, "{r:02x}{g:02x}{b:02x}"),
        }
    }
}

impl FromStr for Background {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "black" => return Ok(Self([0; 3])),
            "white" => return Ok(Self([255; 3])),
            _ => {}
        }
        let digits = text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        match u32::from_str_radix(text, 16) {
            Ok(value) if digits => Ok(Self([16, 8, 0].map(|shift| (value >> shift) as u8))),
            _ => Err(Error::config(format!(
                "unknown colour `{text}`: choose black, white or six hexadecimal digits such as 80ff00"
            ))),
        }
    }
}

impl TryFrom<String> for Background {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Background> for String {
    fn from(background: Background) -> Self {
        background.to_string()
    }
}

/// Numbers from 1 on with an `x` between them: `3x32x32`.
///
/// # Errors
/// Another text.
pub(super) fn sizes<const N: usize>(text: &str) -> Result<[i64; N]> {
    let numbers: Option<Vec<i64>> = text
        .split('x')
        .map(|number| number.parse().ok().filter(|size| *size >= 1))
        .collect();
    let sizes = numbers.and_then(|numbers| <[i64; N]>::try_from(numbers).ok());
    sizes.ok_or_else(|| {
        let form = ["CxHxW, such as 3x32x32", "HxW, such as 32x48"][usize::from(N == 2)];
        Error::config(format!("`{text}` is no size: write {form}"))
    })
}

/// `[C, H, W]` of `--image`.
///
/// # Errors
/// Another text, or channels that no picture can be brought to.
pub fn image_of(text: &str) -> Result<[i64; 3]> {
    let sizes = sizes::<3>(text)?;
    match sizes[0] {
        1 | 3 => Ok(sizes),
        channels => Err(Error::config(format!(
            "pictures have 1 channel (grey) or 3 (colour), not {channels}: write 1xHxW or 3xHxW"
        ))),
    }
}

/// `[H, W]` of `--pad`: one number is both sides.
///
/// # Errors
/// Another text.
pub fn pad_of(text: &str) -> Result<[i64; 2]> {
    match text.parse() {
        Ok(side) if side >= 1 => Ok([side, side]),
        _ => sizes::<2>(text).map_err(|_| {
            Error::config(format!(
                "`{text}` is no size: write one side, such as 32, or HxW, such as 32x48"
            ))
        }),
    }
}

/// `[C, H, W]` as users write it: `3x32x32`.
pub fn size_text(chw: [i64; 3]) -> String {
    chw.map(|size| size.to_string()).join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_colours_read_back() {
        assert_eq!(image_of("3x7x5").unwrap(), [3, 7, 5]);
        assert_eq!(
            (pad_of("32").unwrap(), pad_of("8x9").unwrap()),
            ([32, 32], [8, 9])
        );
        for wrong in ["3x7", "0x7x5", "2x7x5", "3x7x-5", "3x7x5x1", ""] {
            assert!(image_of(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "8x", "8x9x1", "-8"] {
            assert!(pad_of(wrong).is_err(), "{wrong}");
        }
        for text in ["black", "white", "80ff00"] {
            assert_eq!(text.parse::<Background>().unwrap().to_string(), text);
        }
        assert_eq!(Background([255; 3]).of(0, 1), 255);
        assert!("80ff0".parse::<Background>().is_err());
        assert!("+8ff00".parse::<Background>().is_err());
    }
}
