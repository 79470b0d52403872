//! Launch plans: which kernel, on what grid, with how much shared memory. Pure functions of the sizes.
//!
//! A plan depends on nothing that varies from run to run, so neither do the results. The caller fills the pointers of
//! `params` in, raises the kernel's shared memory limit where `shared_bytes` exceeds 48 KiB, and skips a launch that
//! [`Launch::is_empty`].

mod apply;
mod solve;
mod weight_grad;

pub use apply::{apply_plan, ApplyPlan};
pub use solve::{solve_plan, solve_plans, SolveLimits, SolvePlan};
pub use weight_grad::{weight_grad_plan, WeightGradPlan};

use crate::ops::Geometry;
use crate::{Error, Result};

/// Blocks along x at most, in CUDA.
const MAX_GRID_X: i64 = i32::MAX as i64;

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
fn image_groups(op: &'static str, geometry: &Geometry) -> Result<u32> {
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

fn whole_warps(threads: i64) -> i64 {
    div_up(threads.max(1), 32) * 32
}

const fn div_up(value: i64, divisor: i64) -> i64 {
    (value + divisor - 1) / divisor
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::ops::geometry;
    use crate::ops::Corner;

    const KIB: usize = 1024;

    #[test]
    fn large_batches_stay_within_the_grid() {
        let corners = Corner::ALL;
        let large = geometry([100_000, 4, 1, 1], 4, 1);
        let solve = solve_plan(&large, Kind::Float, &corners, false, 48 * KIB).unwrap();
        assert_eq!(solve.launch.grid, [400_000, 1, 1]);
        assert_eq!(solve.launch.block, [32, 1, 1]);
        assert_eq!(solve.progress_words, 0);
        let apply = apply_plan(&large, Kind::Float, &corners, false).unwrap();
        assert_eq!(apply.launch.grid, [100_000_u32.div_ceil(256), 4, 1]);

        let too_large = geometry([1 << 30, 4, 1, 1], 4, 1);
        let err = solve_plan(&too_large, Kind::Float, &corners, false, 48 * KIB).unwrap_err();
        assert!(err.to_string().contains("images times groups"), "{err}");
        assert!(apply_plan(&too_large, Kind::Float, &corners, false).is_ok());
    }

    #[test]
    fn a_grid_is_empty_where_there_is_nothing_to_compute() {
        for image in [[0, 4, 5, 3], [2, 4, 0, 3], [2, 4, 5, 0]] {
            let geometry = geometry(image, 1, 3);
            let corners = [Corner::TopLeft];
            assert!(
                solve_plan(&geometry, Kind::Float, &corners, false, 48 * KIB)
                    .unwrap()
                    .launch
                    .is_empty()
            );
            assert!(apply_plan(&geometry, Kind::Float, &corners, false)
                .unwrap()
                .launch
                .is_empty());
            let grad = weight_grad_plan(&geometry, Kind::Float, &corners, 48 * KIB).unwrap();
            assert!(grad.partial.is_empty() && !grad.sum.is_empty());
            assert_eq!((grad.workspace_elements, grad.params.chunks), (0, 0));
        }
    }

    #[test]
    fn other_dtypes_are_errors() {
        let geometry = geometry([1, 2, 3, 3], 1, 3);
        let err = apply_plan(&geometry, Kind::Half, &[Corner::TopLeft], false).unwrap_err();
        assert!(
            err.to_string()
                .contains("`input` must be float32 or float64"),
            "{err}"
        );
    }
}
