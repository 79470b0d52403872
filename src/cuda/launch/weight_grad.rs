//! The launch plan of the weight gradient: how pairs of channels, taps, pixels and images are shared among blocks.

use tch::Kind;

use super::{div_up, Launch, MAX_GRID_X};
use crate::cuda::kernels::{Element, Operation, SPECIALISED};
use crate::cuda::params::{Shape, WeightGradParams};
use crate::ops::{Corner, Geometry};
use crate::{Error, Result};

/// Threads of a weight gradient's block at most; twin: `kWeightGradThreads`.
const WEIGHT_GRAD_THREADS: i64 = 256;
/// Channels on each side of a weight gradient's tile: 16 x 16 pairs fill a block.
const WEIGHT_GRAD_CHANNELS: i64 = 16;
/// Shared memory of a weight gradient's block: every tile of one row fits, and several blocks fit on a multiprocessor.
const WEIGHT_GRAD_SHARED: usize = 40 * 1024;
/// Blocks that a weight gradient cuts the batch for: a few for each multiprocessor of the largest device.
const WEIGHT_GRAD_BLOCKS: i64 = 1024;
/// Plan of a weight gradient: two launches on one stream, with the same parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightGradPlan {
    /// Partial sums, one set for each chunk of images.
    pub partial: Launch,
    /// Their sum, in the order of the chunks.
    pub sum: Launch,
    /// Elements of the workspace `partials`, of the images' dtype.
    pub workspace_elements: usize,
    /// Parameters of both, with `x`, `u`, `partials` and `grad` to be filled in.
    pub params: WeightGradParams,
}

/// Plans `reference::weight_grad` for images of dtype `kind`.
///
/// # Errors
/// As [`super::solve_plan`], and [`Error::Argument`] where the tiles outnumber the blocks of a grid;
/// [`Error::Cuda`] where not even one pixel fits into `shared_limit`.
pub fn weight_grad_plan(
    geometry: &Geometry,
    kind: Kind,
    corners: &[Corner],
    shared_limit: usize,
) -> Result<WeightGradPlan> {
    const OP: &str = "inv_conv2d_weight_grad";
    let shape = Shape::new(OP, geometry, corners)?;
    let element = Element::of(OP, kind)?;
    let (n, k) = (geometry.group_channels(), geometry.kernel);
    let tap_block = tap_block(k);
    let tile_channels = n.min(WEIGHT_GRAD_CHANNELS);
    let budget = shared_limit.min(WEIGHT_GRAD_SHARED);
    let [tile_rows, tile_columns] = tile(geometry, element, tile_channels, tap_block, budget)
        .ok_or_else(|| {
            Error::Cuda(format!(
                "{OP} needs more shared memory than the {shared_limit} bytes that a block of this device has"
            ))
        })?;
    let pairs = tile_channels * tile_channels;
    let slices = (WEIGHT_GRAD_THREADS / pairs).clamp(1, tile_rows);

    let channel_tiles = div_up(n, tile_channels);
    let tiles = [
        geometry.groups,
        channel_tiles,
        channel_tiles,
        div_up(k, tap_block[0]),
        div_up(k, tap_block[1]),
    ]
    .into_iter()
    .product::<i64>();
    let chunks = div_up(WEIGHT_GRAD_BLOCKS, tiles).clamp(1, geometry.batch.max(1));
    let images_per_chunk = div_up(geometry.batch, chunks);
    let chunks = if images_per_chunk * geometry.height * geometry.width == 0 {
        0 // no pixel: the sum launch writes zeros
    } else {
        div_up(geometry.batch, images_per_chunk)
    };
    if chunks * tiles > MAX_GRID_X {
        return Err(Error::argument(
            OP,
            "weight",
            format!(
                "has too many tiles for one launch: {:?}",
                geometry.weight_size()
            ),
        ));
    }
    let entries = geometry.weight_size().into_iter().product::<i64>();
    let tile_bytes = tile_bytes(element, tile_channels, tap_block, [tile_rows, tile_columns]);
    let sum_bytes = (pairs * slices) as usize * element.bytes();
    Ok(WeightGradPlan {
        partial: Launch {
            image: Operation::WeightGrad.module(),
            kernel: Operation::WeightGrad.kernel(element, k),
            grid: [(chunks * tiles) as u32, 1, 1],
            block: [(pairs * slices) as u32, 1, 1],
            shared_bytes: tile_bytes.max(sum_bytes) as u32,
        },
        sum: Launch {
            image: Operation::WeightGradSum.module(),
            kernel: Operation::WeightGradSum.kernel(element, k),
            grid: [div_up(entries, WEIGHT_GRAD_THREADS) as u32, 1, 1],
            block: [WEIGHT_GRAD_THREADS as u32, 1, 1],
            shared_bytes: 0,
        },
        workspace_elements: (chunks * entries) as usize,
        params: WeightGradParams {
            x: 0,
            u: 0,
            partials: 0,
            grad: 0,
            shape,
            chunks: chunks as i32,
            images_per_chunk: images_per_chunk as i32,
            tile_channels: tile_channels as i32,
            tile_rows: tile_rows as i32,
            tile_columns: tile_columns as i32,
            slices: slices as i32,
        },
    })
}

/// Rows and columns of taps that a block of the weight gradient owns; twin: the kernels' list.
fn tap_block(kernel: i64) -> [i64; 2] {
    if SPECIALISED.contains(&kernel) {
        [kernel, kernel]
    } else {
        [1, 8]
    }
}

/// Rows and columns of the largest tile of pixels within `budget` bytes: columns first, at most 32, then rows.
fn tile(
    geometry: &Geometry,
    element: Element,
    channels: i64,
    taps: [i64; 2],
    budget: usize,
) -> Option<[i64; 2]> {
    let fits = |rows, columns| tile_bytes(element, channels, taps, [rows, columns]) <= budget;
    let mut columns = geometry.width.clamp(1, 32);
    while columns > 1 && !fits(1, columns) {
        columns = div_up(columns, 2);
    }
    let height = geometry.height.max(1);
    let rows = (1..=height)
        .take_while(|&rows| fits(rows, columns))
        .last()?;
    // equal tiles instead of full ones and a rest
    Some([div_up(height, div_up(height, rows)), columns])
}

/// Shared memory of a tile of pixels; twin: the tiles of inv_conv_weight_grad.cu.
fn tile_bytes(
    element: Element,
    channels: i64,
    [tap_rows, tap_columns]: [i64; 2],
    [rows, columns]: [i64; 2],
) -> usize {
    let x_plane = ((rows + tap_rows - 1) * (columns + tap_columns - 1)) | 1;
    let u_plane = (rows * columns) | 1;
    (channels * (x_plane + u_plane)) as usize * element.bytes()
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
    fn weight_gradients_cover_every_image_tap_and_pixel_within_the_limits() {
        for kind in [Kind::Float, Kind::Double] {
            for kernel in [1, 2, 3, 4, 5, 7, 11, 40] {
                for image in [
                    [1, 1, 1, 300],
                    [5, 12, 28, 28],
                    [100, 48, 8, 8],
                    [70_000, 33, 3, 5],
                ] {
                    let geometry = geometry(image, 1, kernel);
                    let plan =
                        weight_grad_plan(&geometry, kind, &[Corner::TopLeft], 48 * KIB).unwrap();
                    let p = &plan.params;
                    let what = format!("{kind:?} {kernel} {image:?} {plan:?}");
                    assert!(p.chunks * p.images_per_chunk >= p.shape.batch, "{what}");
                    assert!(
                        (p.chunks - 1) * p.images_per_chunk < p.shape.batch,
                        "{what}"
                    );
                    assert!(
                        plan.partial.shared_bytes as usize <= WEIGHT_GRAD_SHARED,
                        "{what}"
                    );
                    let threads = i64::from(plan.partial.block[0]);
                    assert!(threads <= WEIGHT_GRAD_THREADS, "{what}");
                    let pairs = p.tile_channels * p.tile_channels;
                    assert_eq!(threads, i64::from(pairs * p.slices), "{what}");
                    assert!(p.slices <= p.tile_rows, "{what}");
                    let blocks = i64::from(plan.partial.grid[0]);
                    assert!(blocks < 2 * WEIGHT_GRAD_BLOCKS || p.chunks == 1, "{what}");
                    let entries = geometry.weight_size().into_iter().product::<i64>();
                    assert_eq!(
                        plan.workspace_elements as i64,
                        entries * i64::from(p.chunks)
                    );
                    assert!(i64::from(plan.sum.grid[0]) * WEIGHT_GRAD_THREADS >= entries);
                }
            }
        }
    }
}
