//! Sizes of one call.

use crate::problem::Geometry;

/// Sizes of one call as the kernels use them.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub channels: usize,
    pub group_channels: usize,
    pub height: usize,
    pub width: usize,
    pub kernel: usize,
}

impl Sizes {
    pub fn new(geometry: &Geometry) -> Self {
        Self {
            batch: geometry.batch as usize,
            channels: geometry.channels as usize,
            group_channels: geometry.group_channels() as usize,
            height: geometry.height as usize,
            width: geometry.width as usize,
            kernel: geometry.kernel as usize,
        }
    }

    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Elements of one image, all groups.
    pub fn image(&self) -> usize {
        self.channels * self.pixels()
    }

    /// Elements of one group's weight.
    pub fn group_weight(&self) -> usize {
        self.group_channels * self.group_channels * self.kernel * self.kernel
    }
}

/// The part of `weight` `[C, C/g, k, k]` that is `group`'s.
pub fn group_weight<'a, T>(sizes: &Sizes, weight: &'a [T], group: usize) -> &'a [T] {
    &weight[group * sizes.group_weight()..(group + 1) * sizes.group_weight()]
}
