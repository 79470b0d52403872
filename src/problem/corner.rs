//! Corners: where a recursion starts, and where that puts the taps in the filter.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The corner of the image at which the recursion starts: the convolution is zero-padded on this corner's side only.
///
/// The four corners are mirror images of one another. For [`Corner::TopLeft`] the tap with offset (a, b), which
/// multiplies `x[h-a, w-b]`, is stored at `W[.., k-1-a, k-1-b]`; for a corner that mirrors the rows it multiplies
/// `x[h+a, ..]` and is stored at `W[.., a, ..]`, and likewise for the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Corner {
    /// Pixel (0, 0).
    TopLeft = 0,
    /// Pixel (0, W-1).
    TopRight = 1,
    /// Pixel (H-1, 0).
    BottomLeft = 2,
    /// Pixel (H-1, W-1).
    BottomRight = 3,
}

impl Corner {
    /// All corners, in the order of FInC Flow's four groups.
    pub const ALL: [Corner; 4] = [
        Corner::TopLeft,
        Corner::TopRight,
        Corner::BottomLeft,
        Corner::BottomRight,
    ];

    /// The name in configurations and in torch's dispatcher.
    pub const fn name(self) -> &'static str {
        match self {
            Corner::TopLeft => "top_left",
            Corner::TopRight => "top_right",
            Corner::BottomLeft => "bottom_left",
            Corner::BottomRight => "bottom_right",
        }
    }

    /// Whether the recursion walks the rows upwards, from H-1 to 0.
    pub const fn mirrors_rows(self) -> bool {
        matches!(self, Corner::BottomLeft | Corner::BottomRight)
    }

    /// Whether the recursion walks the columns leftwards, from W-1 to 0.
    pub const fn mirrors_columns(self) -> bool {
        matches!(self, Corner::TopRight | Corner::BottomRight)
    }

    /// The corner at which the adjoint of this corner's recursion starts.
    pub const fn opposite(self) -> Self {
        match self {
            Corner::TopLeft => Corner::BottomRight,
            Corner::TopRight => Corner::BottomLeft,
            Corner::BottomLeft => Corner::TopRight,
            Corner::BottomRight => Corner::TopLeft,
        }
    }

    /// Row and column, in a k x k filter, of the tap with offset (`rows`, `columns`) from the current pixel.
    pub const fn tap_index(self, kernel: i64, rows: i64, columns: i64) -> (i64, i64) {
        let row = if self.mirrors_rows() {
            rows
        } else {
            kernel - 1 - rows
        };
        let column = if self.mirrors_columns() {
            columns
        } else {
            kernel - 1 - columns
        };
        (row, column)
    }

    /// Row and column, in a k x k filter, of the anchor: the tap that multiplies the current pixel.
    pub const fn anchor_index(self, kernel: i64) -> (i64, i64) {
        self.tap_index(kernel, 0, 0)
    }
}

impl fmt::Display for Corner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Corner {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Corner::ALL
            .into_iter()
            .find(|corner| corner.name() == name)
            .ok_or_else(|| {
                let valid = Corner::ALL.map(Corner::name).join(", ");
                Error::config(format!("unknown corner `{name}`: expected one of {valid}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_an_unknown_one_lists_the_valid_ones() {
        for corner in Corner::ALL {
            assert_eq!(corner.name().parse::<Corner>().unwrap(), corner);
            assert_eq!(corner.opposite().opposite(), corner);
            assert_ne!(corner.mirrors_rows(), corner.opposite().mirrors_rows());
            assert_ne!(
                corner.mirrors_columns(),
                corner.opposite().mirrors_columns()
            );
        }
        let err = "topleft".parse::<Corner>().unwrap_err().to_string();
        assert_eq!(
            err,
            "unknown corner `topleft`: expected one of top_left, top_right, bottom_left, bottom_right"
        );
    }
}
