//! CPU kernels: the solve, the convolution and the weight gradient, for all corners and their adjoints.
//!
//! | module | idea |
//! |---|---|
//! | [`simd`] | element types and their vectors; one microkernel for all sums over taps |
//! | [`filter`] | filters in walking order, premultiplied by the inverse of the anchor, packed for the microkernel |
//! | [`plan`] | which images are solved how, and in which order |
//! | [`lanes`] | images as lanes, transposed in registers |
//! | [`tile`] | the solve of many images: images are the lanes of a vector |
//! | [`spectral`] | the rows above, for large filters, by Fourier transforms along the row |
//! | [`strip`] | the solve of few images: the pixels of an anti-diagonal are the lanes |
//! | [`planes`] | images with a border of zeros, for everything that needs no recursion |
//! | [`conv`], [`weight_grad`] | the convolution and the correlation: neighbouring pixels are the lanes |
//!
//! Corners and adjoints cost nothing: the solve turns them into the order in which pixels are loaded ([`Walk`]), the
//! others into the sign of an offset. Work is split into jobs whose results do not depend on who runs them, and every
//! sum has an order of its own that no layout changes: results are bit-identical for any number of threads.

mod conv;
mod filter;
mod jobs;
mod lanes;
mod plan;
mod planes;
mod simd;
mod spectral;
mod strip;
mod tile;
pub(super) mod transpose;
mod weight_grad;

pub use conv::conv;
pub use plan::solve;
pub use simd::{instruction_set, Real};
pub use weight_grad::weight_grad;

use super::{Corner, Geometry};

/// The direction in which an image is walked, so that the recursion starts at its first pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Walk {
    mirror_rows: bool,
    mirror_columns: bool,
}

impl Walk {
    /// From `corner`, or from the opposite one for the adjoint.
    fn new(corner: Corner, adjoint: bool) -> Self {
        let start = if adjoint { corner.opposite() } else { corner };
        Self {
            mirror_rows: start.mirrors_rows(),
            mirror_columns: start.mirrors_columns(),
        }
    }

    /// Row of the image that is the walk's row `row` of `height`.
    fn row(self, row: usize, height: usize) -> usize {
        if self.mirror_rows {
            height - 1 - row
        } else {
            row
        }
    }
}

/// Sizes of one call as the kernels use them.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    channels: usize,
    group_channels: usize,
    height: usize,
    width: usize,
    kernel: usize,
}

impl Sizes {
    fn new(geometry: &Geometry) -> Self {
        Self {
            batch: geometry.batch as usize,
            channels: geometry.channels as usize,
            group_channels: geometry.group_channels() as usize,
            height: geometry.height as usize,
            width: geometry.width as usize,
            kernel: geometry.kernel as usize,
        }
    }

    fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Elements of one image, all groups.
    fn image(&self) -> usize {
        self.channels * self.pixels()
    }

    /// Elements of one group's weight.
    fn group_weight(&self) -> usize {
        self.group_channels * self.group_channels * self.kernel * self.kernel
    }
}

/// The part of `weight` `[C, C/g, k, k]` that is `group`'s.
fn group_weight<'a, T>(sizes: &Sizes, weight: &'a [T], group: usize) -> &'a [T] {
    &weight[group * sizes.group_weight()..(group + 1) * sizes.group_weight()]
}
