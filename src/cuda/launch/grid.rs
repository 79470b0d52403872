//! One launch, and the limits of a grid.

use crate::problem::Geometry;
use crate::{Error, Result};

/// Blocks along x at most, in CUDA.
pub const MAX_GRID_X: i64 = i32::MAX as i64;

/// One kernel launch, without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The file under `kernels/` that defines the kernel, without its ending.
    pub image: &'static str,
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
}

impl Launch {
    /// Whether there is nothing to compute; CUDA refuses such a grid.
    pub const fn is_empty(&self) -> bool {
        self.grid[0] == 0
    }
}

/// Blocks along x where each owns one group of one image; 0 where there is no pixel.
pub fn image_groups(op: &'static str, geometry: &Geometry) -> Result<u32> {
    if geometry.height * geometry.width == 0 {
        return Ok(0);
    }
    let blocks = geometry.batch * geometry.groups;
    if blocks > MAX_GRID_X {
        return Err(Error::argument(
            op,
            "input",
            format!(
                "must have at most 2^31 - 1 images times groups on CUDA, got {} x {}",
                geometry.batch, geometry.groups
            ),
        ));
    }
    Ok(blocks as u32)
}

pub fn whole_warps(threads: i64) -> i64 {
    div_up(threads.max(1), 32) * 32
}

pub const fn div_up(value: i64, divisor: i64) -> i64 {
    (value + divisor - 1) / divisor
}
