//! Launch plans: which kernel, on what grid, with how much shared memory. Pure functions of the sizes.
//!
//! A plan depends on nothing that varies from run to run, so neither do the results. The caller fills the pointers of
//! `params` in, raises the kernel's shared memory limit where `shared_bytes` exceeds 48 KiB, and skips a launch that
//! [`Launch::is_empty`].

mod weight_grad;

pub use weight_grad::{weight_grad_plan, WeightGradPlan};

use tch::Kind;

use super::kernels::{Element, Operation};
use super::params::{ApplyParams, Shape, SolveParams};
use crate::ops::{Corner, Geometry};
use crate::{Error, Result};

/// Threads of a solve's block at most; twin: `kSolveThreads`.
const SOLVE_THREADS: i64 = 512;
/// Threads of an apply's block; twin: `kApplyThreads`.
const APPLY_THREADS: i64 = 256;
/// Channels of one pixel that a thread of an apply computes; twin: `kApplyChannels`.
const APPLY_CHANNELS: i64 = 4;
/// Blocks along x at most, in CUDA.
const MAX_GRID_X: i64 = i32::MAX as i64;
/// Blocks along y at most, in CUDA.
const MAX_GRID_Y: i64 = 65_535;

/// One kernel launch, without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Name of the kernel in the module.
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

/// Plan of a solve or its adjoint: one launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolvePlan {
    /// The launch.
    pub launch: Launch,
    /// Its parameters, with `y`, `weight` and `x` to be filled in.
    pub params: SolveParams,
}

/// Plan of a convolution or its adjoint: one launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyPlan {
    /// The launch.
    pub launch: Launch,
    /// Its parameters, with `x`, `weight` and `y` to be filled in.
    pub params: ApplyParams,
}

/// Plans `reference::solve` for images of dtype `kind`.
///
/// `shared_limit` is the device's dynamic shared memory for a block, in bytes, with opt-in. Any size fits: what does
/// not fit into shared memory stays in the output.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels or sizes beyond the index limits (see [`Shape::new`]).
pub fn solve_plan(
    geometry: &Geometry,
    kind: Kind,
    corners: &[Corner],
    adjoint: bool,
    shared_limit: usize,
) -> Result<SolvePlan> {
    const OP: &str = "inv_conv2d";
    let shape = Shape::new(OP, geometry, corners)?;
    let element = Element::of(OP, kind)?;
    let n = geometry.group_channels();
    let diagonal = geometry.height.min(geometry.width);
    let bytes = |elements: i64| elements as usize * element.bytes();

    // twin: the carving of shared memory in inv_conv_solve.cu
    let inverse = bytes(n * n + n * diagonal);
    let image = bytes(n * geometry.height * geometry.width);
    let inverse_in_shared = inverse <= shared_limit;
    let inverse = if inverse_in_shared { inverse } else { 0 };
    let image_in_shared = inverse + image <= shared_limit;
    let image = if image_in_shared { image } else { 0 };

    let threads = whole_warps(n * diagonal).min(SOLVE_THREADS);
    Ok(SolvePlan {
        launch: Launch {
            kernel: Operation::Solve.kernel(element, geometry.kernel),
            grid: [image_groups(OP, geometry)?, 1, 1],
            block: [threads as u32, 1, 1],
            shared_bytes: (inverse + image) as u32,
        },
        params: SolveParams {
            y: 0,
            weight: 0,
            x: 0,
            shape,
            adjoint: adjoint.into(),
            inverse_in_shared: inverse_in_shared.into(),
            image_in_shared: image_in_shared.into(),
            reserved: 0,
        },
    })
}

/// Plans `reference::conv` for images of dtype `kind`.
///
/// # Errors
/// As [`solve_plan`].
pub fn apply_plan(
    geometry: &Geometry,
    kind: Kind,
    corners: &[Corner],
    adjoint: bool,
) -> Result<ApplyPlan> {
    const OP: &str = "masked_conv2d";
    let shape = Shape::new(OP, geometry, corners)?;
    let element = Element::of(OP, kind)?;
    let items =
        div_up(geometry.group_channels(), APPLY_CHANNELS) * geometry.height * geometry.width;
    // the blocks of one image share its items in strides, so fewer of them than would be needed are enough
    let blocks = div_up(items, APPLY_THREADS).clamp(1, MAX_GRID_Y);
    Ok(ApplyPlan {
        launch: Launch {
            kernel: Operation::Apply.kernel(element, geometry.kernel),
            grid: [image_groups(OP, geometry)?, blocks as u32, 1],
            block: [APPLY_THREADS as u32, 1, 1],
            shared_bytes: 0,
        },
        params: ApplyParams {
            x: 0,
            weight: 0,
            y: 0,
            shape,
            adjoint: adjoint.into(),
            reserved: 0,
        },
    })
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
    use super::*;

    const KIB: usize = 1024;

    fn geometry([batch, channels, height, width]: [i64; 4], groups: i64, kernel: i64) -> Geometry {
        Geometry {
            batch,
            channels,
            groups,
            height,
            width,
            kernel,
        }
    }

    #[test]
    fn a_solve_keeps_in_shared_memory_what_fits() {
        let plan = |limit| {
            let geometry = geometry([3, 24, 10, 7], 2, 3);
            let plan = solve_plan(&geometry, Kind::Double, &Corner::ALL[..2], true, limit).unwrap();
            let flags = (plan.params.inverse_in_shared, plan.params.image_in_shared);
            (flags, plan.launch.shared_bytes)
        };
        let (inverse, image) = ((12 * 12 + 12 * 7) * 8, 12 * 10 * 7 * 8);
        assert_eq!(plan(48 * KIB), ((1, 1), inverse + image));
        assert_eq!(plan((inverse + image) as usize), ((1, 1), inverse + image));
        assert_eq!(plan((inverse + image) as usize - 1), ((1, 0), inverse));
        assert_eq!(plan(inverse as usize - 1), ((0, 0), 0));

        // many channels in a small image: the image fits where the inverse of the anchor does not
        let wide = geometry([1, 200, 2, 3], 1, 1);
        let plan = solve_plan(&wide, Kind::Float, &Corner::ALL[..1], false, 48 * KIB).unwrap();
        assert_eq!(
            (plan.params.inverse_in_shared, plan.params.image_in_shared),
            (0, 1)
        );
        assert_eq!(plan.launch.shared_bytes, 200 * 6 * 4);
    }

    #[test]
    fn large_batches_stay_within_the_grid() {
        let corners = Corner::ALL;
        let large = geometry([100_000, 4, 1, 1], 4, 1);
        let solve = solve_plan(&large, Kind::Float, &corners, false, 48 * KIB).unwrap();
        assert_eq!(solve.launch.grid, [400_000, 1, 1]);
        assert_eq!(solve.launch.block, [32, 1, 1]);
        let apply = apply_plan(&large, Kind::Float, &corners, false).unwrap();
        assert_eq!(apply.launch.grid, [400_000, 1, 1]);

        let too_large = geometry([1 << 30, 4, 1, 1], 4, 1);
        let err = apply_plan(&too_large, Kind::Float, &corners, false).unwrap_err();
        assert!(err.to_string().contains("images times groups"), "{err}");

        let large_image = geometry([1, 1, 1 << 15, (1 << 16) - 1], 1, 1);
        let apply = apply_plan(&large_image, Kind::Float, &corners[..1], false).unwrap();
        assert_eq!(apply.launch.grid[1], 65_535);
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
