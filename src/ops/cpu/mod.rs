//! CPU kernels: the solve, the convolution and the weight gradient, for all corners and their adjoints.
//!
//! One idea carries all three: **images are lanes**. A tile of [`Lanes`] images is transposed once to
//! `[pixel][channel][image]`, so that a pixel is a matrix-vector product whose vectors hold the same element of
//! several images; no dependency of the recursion ever crosses a lane. The corner and the adjoint disappear in the
//! transposition: every tile is walked from its own top left ([`Walk`]), and every filter is repacked to match
//! ([`taps`]). The loops are plain arrays that the compiler vectorises; `pulp` picks AVX-512, AVX2 or the baseline at
//! run time.
//!
//! Work is split into tiles, never inside a sum, and partial sums have a fixed order: results do not depend on the
//! number of threads.

mod sweep;
mod taps;
mod tile;
mod weight_grad;

pub use sweep::{conv, solve};
pub use weight_grad::weight_grad;

use super::Corner;
use crate::ffi::memory::Element;
use std::ops::{Add, AddAssign, Mul};

/// Arithmetic of the kernels' element types.
pub trait Real: Element + Default + Add<Output = Self> + Mul<Output = Self> + AddAssign {
    /// `self * a + b` in one rounding.
    fn fused(self, a: Self, b: Self) -> Self;
    /// Widened.
    fn to_f64(self) -> f64;
    /// Rounded to nearest.
    fn from_f64(value: f64) -> Self;
    /// Images per full tile: one 512-bit vector.
    const LANES: usize;
}

impl Real for f32 {
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    const LANES: usize = 16;
}

impl Real for f64 {
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(value: f64) -> Self {
        value
    }
    const LANES: usize = 8;
}

/// Multiply-add; fused only where the machine has the instruction (`FMA`), since the library function is slow.
#[inline(always)]
fn mul_add<T: Real, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA {
        a.fused(b, c)
    } else {
        a * b + c
    }
}

/// Images per tile for a batch: full vectors for large batches; small batches trade idle lanes for more tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lanes {
    One,
    Four,
    Full,
}

impl Lanes {
    fn for_batch(batch: usize) -> Self {
        match batch {
            0..=1 => Self::One,
            2..=8 => Self::Four,
            _ => Self::Full,
        }
    }
}

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
    fn new(geometry: &super::Geometry) -> Self {
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
