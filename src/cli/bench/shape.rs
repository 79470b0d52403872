//! What the operator is measured on.

use crate::ops::Corner;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;
use tch::Kind;

/// Images `[B, C, H, W]` and the side `k` of the filters, written `B,C,H,W,k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// `[B, C, H, W]`.
    pub images: [i64; 4],
    /// `k`.
    pub kernel: i64,
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<i64> = text
            .split(',')
            .filter_map(|part| part.trim().parse().ok())
            .filter(|&number| number > 0)
            .collect();
        match numbers.as_slice() {
            &[b, c, h, w, kernel] if text.split(',').count() == 5 => Ok(Self {
                images: [b, c, h, w],
                kernel,
            }),
            _ => Err(Error::config(format!(
                "`{text}` is no shape: expected B,C,H,W,k, each 1 or more, such as 100,12,16,16,3"
            ))),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [b, c, h, w] = self.images;
        write!(f, "{b}x{c}x{h}x{w} k={}", self.kernel)
    }
}

/// One case: a shape, an element type, and the corners of the channel groups.
#[derive(Debug, Clone)]
pub struct Case {
    /// The sizes.
    pub shape: Shape,
    /// float32 or float64.
    pub kind: Kind,
    /// One for each group.
    pub corners: &'static [Corner],
}

const ONE: &[Corner] = &[Corner::TopLeft];

/// The shapes of the models' layers, at the sizes of the paper's tables, and of large and single images.
const SINGLE: [[i64; 5]; 15] = [
    [100, 4, 14, 14, 3],
    [100, 16, 7, 7, 3],
    [100, 12, 16, 16, 2],
    [100, 12, 16, 16, 3],
    [100, 12, 16, 16, 5],
    [100, 12, 16, 16, 7],
    [100, 12, 16, 16, 11],
    [100, 24, 8, 8, 3],
    [100, 48, 8, 8, 3],
    [100, 12, 32, 32, 3],
    [100, 12, 64, 64, 3],
    [16, 12, 128, 128, 3],
    [8, 12, 256, 256, 3],
    [1, 12, 16, 16, 3],
    [1, 48, 64, 64, 3],
];
/// Those that are measured in float64 too.
const DOUBLE: [[i64; 5]; 4] = [
    [100, 4, 14, 14, 3],
    [100, 12, 16, 16, 3],
    [100, 48, 8, 8, 3],
    [1, 12, 16, 16, 3],
];
/// Those that are measured in FInC Flow's form too: four groups, one from each corner.
const FOUR_CORNERS: [[i64; 5]; 3] = [
    [100, 4, 14, 14, 3],
    [100, 12, 16, 16, 3],
    [100, 48, 8, 8, 3],
];

fn problem([b, c, h, w, kernel]: [i64; 5], kind: Kind, corners: &'static [Corner]) -> Case {
    Case {
        shape: Shape {
            images: [b, c, h, w],
            kernel,
        },
        kind,
        corners,
    }
}

/// The standard list.
pub fn standard() -> Vec<Case> {
    let single = SINGLE.map(|sizes| problem(sizes, Kind::Float, ONE));
    let double = DOUBLE.map(|sizes| problem(sizes, Kind::Double, ONE));
    let four = FOUR_CORNERS.map(|sizes| problem(sizes, Kind::Float, &Corner::ALL));
    single.into_iter().chain(double).chain(four).collect()
}

/// `shape` in float32 from the top left corner.
pub fn plain(shape: Shape) -> Case {
    Case {
        shape,
        kind: Kind::Float,
        corners: ONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_five_positive_numbers() {
        let shape: Shape = "2, 3,4,5,7".parse().unwrap();
        assert_eq!((shape.images, shape.kernel), ([2, 3, 4, 5], 7));
        for wrong in [
            "",
            "2,3,4,5",
            "2,3,4,5,6,7",
            "2,3,4,5,0",
            "2,3,x,4,5,6",
            "2,3,-4,5,6",
        ] {
            let message = wrong.parse::<Shape>().unwrap_err().to_string();
            assert!(message.contains("B,C,H,W,k"), "{message}");
        }
    }
}
