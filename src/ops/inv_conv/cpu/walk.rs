//! The order in which the pixels of an image are met.

use crate::problem::Corner;

/// The direction in which an image is walked, so that the recursion starts at its first pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// From the last row to the first.
    pub mirror_rows: bool,
    /// From the last column to the first.
    pub mirror_columns: bool,
}

impl Walk {
    /// From `corner`, or from the opposite one for the adjoint.
    pub fn new(corner: Corner, adjoint: bool) -> Self {
        let start = if adjoint { corner.opposite() } else { corner };
        Self {
            mirror_rows: start.mirrors_rows(),
            mirror_columns: start.mirrors_columns(),
        }
    }

    /// Row of the image that is the walk's row `row` of `height`.
    pub fn row(self, row: usize, height: usize) -> usize {
        if self.mirror_rows {
            height - 1 - row
        } else {
            row
        }
    }
}
