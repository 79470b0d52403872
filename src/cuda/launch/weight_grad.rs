//! The launch plan of the weight gradient: how pairs of channels, taps, pixels and images are shared among blocks.

use tch::Kind;

use super::grid::{div_up, whole_warps, Launch, MAX_GRID_X};
use crate::cuda::kernels::{Element, Operation, SPECIALISED};
use crate::cuda::params::{Shape, WeightGradParams};
use crate::problem::{Corner, Geometry};
use crate::words::counted;
use crate::{Error, Result};

/// Threads of a weight gradient's block at most; twin: `kWeightGradThreads`.
const WEIGHT_GRAD_THREADS: i64 = 256;
/// Channels on each side of a weight gradient's tile at most.
const WEIGHT_GRAD_CHANNELS: i64 = 16;
/// Shared memory of a weight gradient's block: every tile of one row fits, and several blocks fit on a multiprocessor.
const WEIGHT_GRAD_SHARED: usize = 40 * 1024;
/// Blocks that a weight gradient cuts the batch for: a few for each multiprocessor of the largest device.
const WEIGHT_GRAD_BLOCKS: i64 = 1024;
/// Entries of a block of the second launch; twin: `kSumEntries`.
const SUM_ENTRIES: i64 = 32;

/// Plan of a weight gradient: two launches on one stream, with the same parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightGradPlan {
    /// Partial sums, one set for each chunk of pixels.
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
    let [outs, ins] = thread_channels(element, k);
    let tile_channels = (div_up(n, outs) * outs).min(WEIGHT_GRAD_CHANNELS);
    let budget = shared_limit.min(WEIGHT_GRAD_SHARED);
    let [tile_rows, tile_columns] = tile(geometry, element, tile_channels, tap_block, budget)
        .ok_or_else(|| {
            Error::Cuda(format!(
                "{OP} needs more shared memory than the {} that a block of this device has",
                counted(shared_limit, "byte")
            ))
        })?;
    let team = tile_channels / outs * (tile_channels / ins);
    let slices = (WEIGHT_GRAD_THREADS / team).clamp(1, tile_rows);
    // equal shares of the rows
    let slices = div_up(tile_rows, div_up(tile_rows, slices));

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
    let units = geometry.batch * div_up(geometry.height, tile_rows);
    let chunks = div_up(WEIGHT_GRAD_BLOCKS, tiles).clamp(1, units.max(1));
    let chunk_units = div_up(units, chunks);
    let chunks = if units * geometry.width == 0 {
        0 // no pixel: the sum launch writes zeros
    } else {
        div_up(units, chunk_units)
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
    let sum_bytes = (tile_channels * tile_channels * slices) as usize * element.bytes();
    Ok(WeightGradPlan {
        partial: Launch {
            image: Operation::WeightGrad.module(),
            kernel: Operation::WeightGrad.kernel(element, k),
            grid: [(chunks * tiles) as u32, 1, 1],
            block: [whole_warps(team * slices) as u32, 1, 1],
            shared_bytes: tile_bytes.max(sum_bytes) as u32,
        },
        sum: Launch {
            image: Operation::WeightGradSum.module(),
            kernel: Operation::WeightGradSum.kernel(element, k),
            grid: [div_up(entries, SUM_ENTRIES) as u32, 1, 1],
            block: [WEIGHT_GRAD_THREADS as u32, 1, 1],
            shared_bytes: (WEIGHT_GRAD_THREADS as usize * element.bytes()) as u32,
        },
        workspace_elements: (chunks * entries) as usize,
        params: WeightGradParams {
            x: 0,
            u: 0,
            partials: 0,
            grad: 0,
            shape,
            chunks: chunks as i32,
            chunk_units: chunk_units as i32,
            tile_channels: tile_channels as i32,
            tile_rows: tile_rows as i32,
            tile_columns: tile_columns as i32,
            slices: slices as i32,
            lanes: (tile_columns as u32).next_power_of_two().min(32) as i32,
            negative: 0,
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

/// Out- and in-channels of a thread; twin: the kernels' list.
fn thread_channels(element: Element, kernel: i64) -> [i64; 2] {
    match (kernel, element) {
        (7, Element::F64) => [1, 1],
        (5 | 7, _) => [2, 1],
        _ => [2, 2],
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
    use crate::problem::geometry;

    const KIB: usize = 1024;

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
                    let row_tiles = div_up(image[2], i64::from(p.tile_rows));
                    let units = image[0] * row_tiles;
                    let (chunks, chunk_units) = (i64::from(p.chunks), i64::from(p.chunk_units));
                    assert!(chunks * chunk_units >= units, "{what}");
                    assert!((chunks - 1) * chunk_units < units, "{what}");
                    assert!(
                        plan.partial.shared_bytes as usize <= WEIGHT_GRAD_SHARED,
                        "{what}"
                    );
                    let threads = i64::from(plan.partial.block[0]);
                    assert!(threads <= WEIGHT_GRAD_THREADS, "{what}");
                    let [outs, ins] = thread_channels(Element::of("test", kind).unwrap(), kernel);
                    let tile = i64::from(p.tile_channels);
                    assert!(tile % outs == 0 && tile % ins == 0, "{what}");
                    let owners = tile / outs * (tile / ins) * i64::from(p.slices);
                    assert_eq!(threads, whole_warps(owners), "{what}");
                    assert!(p.slices <= p.tile_rows, "{what}");
                    assert!(32 % p.lanes == 0 && threads % 32 == 0, "{what}");
                    let blocks = i64::from(plan.partial.grid[0]);
                    assert!(blocks < 2 * WEIGHT_GRAD_BLOCKS || p.chunks == 1, "{what}");
                    let entries = geometry.weight_size().into_iter().product::<i64>();
                    assert_eq!(
                        plan.workspace_elements as i64,
                        entries * i64::from(p.chunks)
                    );
                    assert!(i64::from(plan.sum.grid[0]) * SUM_ENTRIES >= entries);
                }
            }
        }
    }

    #[test]
    fn the_channels_of_a_thread_are_those_of_its_kernel() {
        let source = include_str!("../../../kernels/inv_conv_weight_grad.cu");
        for (element, cuda) in [(Element::F32, "float"), (Element::F64, "double")] {
            for kernel in [1, 2, 3, 4, 5, 7, 11] {
                let [rows, columns] = tap_block(kernel);
                let [outs, ins] = thread_channels(element, kernel);
                let name = Operation::WeightGrad.kernel(element, kernel);
                let line = format!("({cuda}, {rows}, {columns}, {outs}, {ins}, {name})");
                assert_eq!(source.matches(&line).count(), 1, "{line}");
            }
        }
    }

    #[test]
    fn a_few_large_images_fill_a_device_too() {
        let large = geometry([8, 12, 256, 256], 1, 3);
        let plan = weight_grad_plan(&large, Kind::Float, &[Corner::TopLeft], 48 * KIB).unwrap();
        assert!(plan.partial.grid[0] >= 128, "{plan:?}");
    }
}
