//! The launch plan of a convolution: how pixels, channels and weights are shared among blocks.

use tch::Kind;

use super::grid::{div_up, Launch, MAX_GRID_X};
use crate::cuda::kernels::{Element, Operation};
use crate::cuda::params::{ApplyParams, Shape};
use crate::problem::{Corner, Geometry};
use crate::{Error, Result};

/// Threads of a block; twin: `kApplyThreads`.
const APPLY_THREADS: i64 = 128;
/// Channels that a thread computes; twin: `kApplyChannels`.
const APPLY_CHANNELS: i64 = 4;
/// Pixels that a thread computes; twin: `kApplyPixels`.
const APPLY_PIXELS: i64 = 2;
/// Weights in shared memory at a time, unless one row of taps takes more: what all devices give a block without asking,
/// with room for several blocks on a multiprocessor.
const STAGE_BYTES: i64 = 16 * 1024;
/// Shared memory that a block has without asking.
const SHARED_BYTES: i64 = 48 * 1024;
/// Blocks along y at most, in CUDA.
const MAX_GRID_Y: i64 = 65_535;

/// Plan of a convolution or its adjoint: one launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyPlan {
    /// The launch.
    pub launch: Launch,
    /// Its parameters, with `x`, `weight` and `y` to be filled in.
    pub params: ApplyParams,
}

/// Plans `reference::conv` for images of dtype `kind`.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, sizes beyond the index limits (see [`Shape::new`]), or filters of
/// more than a thousand columns.
pub fn apply_plan(
    geometry: &Geometry,
    kind: Kind,
    corners: &[Corner],
    adjoint: bool,
) -> Result<ApplyPlan> {
    const OP: &str = "masked_conv2d";
    let shape = Shape::new(OP, geometry, corners)?;
    let element = Element::of(OP, kind)?;
    let (n, k) = (geometry.group_channels(), geometry.kernel);
    let row_bytes = k * APPLY_CHANNELS * element.bytes() as i64;
    if row_bytes > SHARED_BYTES {
        return Err(Error::argument(
            OP,
            "weight",
            format!(
                "must have filters of side {} at most on CUDA, got {k}",
                SHARED_BYTES / (APPLY_CHANNELS * element.bytes() as i64)
            ),
        ));
    }
    let stage_rows = (STAGE_BYTES / row_bytes).clamp(1, (n * k).max(1));
    let pixels = geometry.batch * geometry.height * geometry.width;
    let blocks = div_up(pixels, APPLY_THREADS * APPLY_PIXELS);
    if blocks > MAX_GRID_X {
        return Err(Error::argument(
            OP,
            "input",
            format!(
                "has too many pixels for one launch: {:?}",
                geometry.image_size()
            ),
        ));
    }
    // blocks along y go round where there are more tiles of channels than a grid can have
    let tiles = geometry.groups * div_up(n, APPLY_CHANNELS);
    Ok(ApplyPlan {
        launch: Launch {
            image: Operation::Apply.module(),
            kernel: Operation::Apply.kernel(element, k),
            grid: [blocks as u32, tiles.min(MAX_GRID_Y) as u32, 1],
            block: [APPLY_THREADS as u32, 1, 1],
            shared_bytes: (stage_rows * row_bytes) as u32,
        },
        params: ApplyParams {
            x: 0,
            weight: 0,
            y: 0,
            shape,
            adjoint: adjoint.into(),
            stage_rows: stage_rows as i32,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry([batch, channels, height, width]: [i64; 4], kernel: i64) -> Geometry {
        Geometry {
            batch,
            channels,
            groups: 1,
            height,
            width,
            kernel,
        }
    }

    #[test]
    fn a_plan_covers_every_pixel_channel_and_tap() {
        for (kind, bytes) in [(Kind::Float, 4), (Kind::Double, 8)] {
            for kernel in [1, 2, 3, 7, 11, 40] {
                for image in [[1, 1, 1, 1], [100, 12, 16, 16], [3, 50, 7, 129]] {
                    let geometry = geometry(image, kernel);
                    let plan = apply_plan(&geometry, kind, &[Corner::TopLeft], true).unwrap();
                    let launch = &plan.launch;
                    let pixels = i64::from(launch.grid[0]) * APPLY_THREADS * APPLY_PIXELS;
                    assert!(pixels >= image[0] * image[2] * image[3], "{plan:?}");
                    assert!(
                        i64::from(launch.grid[1]) * APPLY_CHANNELS >= image[1],
                        "{plan:?}"
                    );
                    let rows = i64::from(plan.params.stage_rows);
                    assert!(rows >= 1, "{plan:?}");
                    assert_eq!(i64::from(launch.shared_bytes), rows * kernel * 4 * bytes);
                    assert!(i64::from(launch.shared_bytes) <= SHARED_BYTES, "{plan:?}");
                }
            }
        }
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        let plan = |image, kernel| {
            apply_plan(
                &geometry(image, kernel),
                Kind::Double,
                &[Corner::TopLeft],
                false,
            )
            .unwrap_err()
            .to_string()
        };
        let err = plan([1, 1, 2, 2], 2000);
        assert!(
            err.contains("`weight`") && err.contains("got 2000"),
            "{err}"
        );
        let err = plan([1 << 30, 1, 1 << 10, 1], 1);
        assert!(err.contains("`input`") && err.contains("pixels"), "{err}");
    }
}
