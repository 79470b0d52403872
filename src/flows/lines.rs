//! Images as lines that come one after the other, and the windows that an output sees of them.

use crate::ops::pad::pad as pad_image;
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Which lines come first: the rows in two directions, or the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LineOrder {
    /// Rows from the top: a row depends on those above it.
    A,
    /// Rows from the bottom.
    B,
    /// Columns from the left.
    C,
    /// Columns from the right.
    D,
}

impl LineOrder {
    /// All four.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    pub(super) fn is_rows(self) -> bool {
        matches!(self, Self::A | Self::B)
    }

    pub(super) fn is_reversed(self) -> bool {
        matches!(self, Self::B | Self::D)
    }
}

/// Which pixels an output looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) order: LineOrder,
    pub(super) depth: i64,
    pub(super) breadth: i64,
}

impl Window {
    /// The convolution of `x`, `[N, hidden, H, W]`: pads the side that lines come from by `depth` and crops the far
    /// line, so that a pixel's window ends one line before it.
    pub(super) fn convolve(self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let side = (self.breadth - 1) / 2;
        let (depth, crop) = (self.depth, -1);
        // [left, right, top, bottom]
        let pad = match self.order {
            LineOrder::A => [side, side, depth, crop],
            LineOrder::B => [side, side, crop, depth],
            LineOrder::C => [depth, crop, side, side],
            LineOrder::D => [crop, depth, side, side],
        };
        Ok(pad_image(x, pad)?.f_conv2d(weight, Some(bias), [1], [0], [1], 1)?)
    }

    /// The lines of `x` in the order of the recursion, `[N, L, C]` each, `L` the length of a line.
    pub(super) fn lines(self, x: &Tensor) -> Result<Vec<Tensor>> {
        let lines_first = if self.order.is_rows() {
            x.f_permute([2, 0, 3, 1])?
        } else {
            x.f_permute([3, 0, 2, 1])?
        };
        let mut lines = lines_first.f_contiguous()?.f_unbind(0)?;
        if self.order.is_reversed() {
            lines.reverse();
        }
        Ok(lines)
    }

    /// The inverse of [`lines`](Window::lines).
    pub(super) fn image(self, mut lines: Vec<Tensor>) -> Result<Tensor> {
        if self.order.is_reversed() {
            lines.reverse();
        }
        let lines_first = Tensor::f_stack(&lines, 0)?;
        let image = if self.order.is_rows() {
            lines_first.f_permute([1, 3, 0, 2])?
        } else {
            lines_first.f_permute([1, 3, 2, 0])?
        };
        Ok(image.f_contiguous()?)
    }

    /// The windows along one line `[N, L, C]` → `[N, L, C, breadth]`.
    pub(super) fn windows(self, line: &Tensor) -> Result<Tensor> {
        let side = (self.breadth - 1) / 2;
        Ok(line
            .f_constant_pad_nd([0, 0, side, side])?
            .f_unfold(1, self.breadth, 1)?)
    }
}
