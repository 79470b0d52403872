//! Parameters and launch plan of the spline. `kernels/spline.cu` explains the stages.

use crate::cuda::kernels::Element;
use crate::cuda::launch::Launch;
use crate::problem::spline::{derivative_offset, SplineSizes};
use crate::problem::Direction;
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::Kind;

/// Threads of a block at most, but in the last stage; twin: `kSplineThreads`.
const THREADS: usize = 128;
/// Threads of a block of the last stage, and sets that it takes; twins: `kSplineGradThreads` and `kSplineSets`.
const GRAD_THREADS: usize = 512;
const GRAD_SETS: usize = 8;
/// Threads with sums of their own at most where all elements share one set; a few blocks of them.
const SHARED_COLUMNS: usize = 1024;
/// Blocks that backward cuts the batch for: a few for each multiprocessor of the largest device.
const BLOCKS: usize = 512;
/// Blocks along x at most where the threads stride over the rest.
const MAX_GRID: usize = 65_535;
/// Threads of a warp, one after the other a set's bins.
const WARP: usize = 32;
/// Shared memory of a block that every card has without opt-in.
const SHARED_BYTES: usize = 48 * 1024;
/// Memory at most for sums that do not fit into it, unless every set needs more.
const SCRATCH_BYTES: usize = 64 << 20;
/// Numbers of a bin in the table; twin: `kBinFields`.
const BIN_FIELDS: usize = 6;
/// Sums of a bin; twin: `kSums`.
const SUMS: usize = 7;

/// Parameters of all stages: field for field the twin of `SplineParams` in `kernels/spline.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // in spline.cuh
pub struct SplineParams {
    pub x: u64,
    pub widths: u64,
    pub heights: u64,
    pub derivatives: u64,
    pub table: u64,
    pub value: u64,
    pub log_det: u64,
    pub value_grad: u64,
    pub log_det_grad: u64,
    pub scratch: u64,
    pub partials: u64,
    pub sums: u64,
    pub fractions: u64,
    pub x_grad: u64,
    pub widths_grad: u64,
    pub heights_grad: u64,
    pub derivatives_grad: u64,
    pub tail: f64,
    pub offset: f64,
    pub samples: i64,
    pub elements: i64,
    pub sets: i64,
    pub columns: i64,
    pub samples_per_chunk: i64,
    pub parts: i64,
    pub bins: i32,
    pub inverse: i32,
}

const _: () = {
    assert!(size_of::<SplineParams>() == 208);
    assert!(offset_of!(SplineParams, tail) == 136);
    assert!(offset_of!(SplineParams, bins) == 200);
};

/// Launches of both passes, in order, and how much memory they need.
#[derive(Debug, Clone, PartialEq)]
pub struct SplinePlan {
    /// Knots, where each element has a set of its own; values.
    pub forward: Vec<Launch>,
    /// Partial sums with the elements' gradient, the raw numbers' gradient.
    pub backward: [Launch; 2],
    /// Elements of `table`, of the images' dtype.
    pub table_elements: usize,
    /// Elements of `scratch`, of the images' dtype; 0 where shared memory has room for them.
    pub scratch_elements: usize,
    /// Elements of `partials`, of the images' dtype.
    pub partial_elements: usize,
    /// Elements of `sums`, float64.
    pub sum_elements: usize,
    /// Elements of `fractions`, float64.
    pub fraction_elements: usize,
    /// Parameters of all launches, with the pointers to be filled in.
    pub params: SplineParams,
}

/// Plans both passes for elements of dtype `kind`. Pure: it depends on the sizes alone, and so do the results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more samples than blocks of a grid.
pub fn spline_plan(
    sizes: &SplineSizes,
    kind: Kind,
    direction: Direction,
    tail: f64,
) -> Result<SplinePlan> {
    let element = Element::of("spline", kind)?;
    if i32::try_from(sizes.samples).is_err() {
        return Err(Error::argument(
            "spline",
            "x",
            format!(
                "must have at most 2^31 - 1 samples on CUDA, got {}",
                sizes.samples
            ),
        ));
    }
    let SplineSizes {
        samples,
        elements,
        bins,
        shared,
    } = *sizes;
    let (sets, rows) = (sizes.sets(), bins * SUMS);
    let here = SumsOfColumns::plan(sizes, element);
    let launch = |stage: [&'static str; 2], grid: [usize; 2], threads, shared_bytes| Launch {
        image: "spline",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [
            if samples * elements == 0 {
                0
            } else {
                grid[0] as u32
            },
            grid[1] as u32,
            1,
        ],
        block: [threads as u32, 1, 1],
        shared_bytes: shared_bytes as u32,
    };
    let mut forward = Vec::with_capacity(2);
    if !shared {
        let blocks = (sets * WARP).div_ceil(THREADS).min(MAX_GRID);
        let stage = ["spline_knots_f32", "spline_knots_f64"];
        forward.push(launch(stage, [blocks, 1], THREADS, 0));
    }
    forward.push(launch(
        ["spline_apply_f32", "spline_apply_f64"],
        [samples, 1],
        THREADS,
        THREADS * Element::F64.bytes() + shared_table(sizes, element),
    ));
    Ok(SplinePlan {
        forward,
        backward: [
            launch(
                ["spline_backward_f32", "spline_backward_f64"],
                [here.column_blocks, here.chunks],
                here.threads,
                here.shared_bytes,
            ),
            launch(
                ["spline_raw_grad_f32", "spline_raw_grad_f64"],
                [sets.div_ceil(GRAD_SETS), 1],
                GRAD_THREADS,
                0,
            ),
        ],
        table_elements: sets * bins * BIN_FIELDS,
        scratch_elements: here.scratch_elements,
        partial_elements: rows * here.parts * sets,
        sum_elements: sets * rows,
        fraction_elements: sets * 2 * bins,
        params: SplineParams {
            x: 0,
            widths: 0,
            heights: 0,
            derivatives: 0,
            table: 0,
            value: 0,
            log_det: 0,
            value_grad: 0,
            log_det_grad: 0,
            scratch: 0,
            partials: 0,
            sums: 0,
            fractions: 0,
            x_grad: 0,
            widths_grad: 0,
            heights_grad: 0,
            derivatives_grad: 0,
            tail,
            offset: derivative_offset(),
            samples: samples as i64,
            elements: elements as i64,
            sets: sets as i64,
            columns: here.columns as i64,
            samples_per_chunk: here.samples_per_chunk as i64,
            parts: here.parts as i64,
            bins: bins as i32,
            inverse: i32::from(direction == Direction::Inverse),
        },
    })
}

/// Bytes of the table of a shared set, which every block has for itself.
fn shared_table(sizes: &SplineSizes, element: Element) -> usize {
    usize::from(sizes.shared) * sizes.bins * BIN_FIELDS * element.bytes()
}

/// How the blocks of the backward pass keep the sums of their columns, and cut the batch.
struct SumsOfColumns {
    threads: usize,
    shared_bytes: usize,
    scratch_elements: usize,
    columns: usize,
    column_blocks: usize,
    samples_per_chunk: usize,
    chunks: usize,
    /// Of each sum, that the last stage adds up.
    parts: usize,
}

impl SumsOfColumns {
    fn plan(sizes: &SplineSizes, element: Element) -> Self {
        let &SplineSizes {
            samples,
            elements,
            shared,
            ..
        } = sizes;
        let of_column = sizes.bins * SUMS;
        let table = shared_table(sizes, element);
        // as many threads as have room for their sums in shared memory
        let in_shared = [THREADS, THREADS / 2, THREADS / 4]
            .into_iter()
            .map(|threads| (threads, table + threads * of_column * element.bytes()))
            .find(|&(_, bytes)| bytes <= SHARED_BYTES);
        let (threads, shared_bytes) = in_shared.unwrap_or((THREADS, table));
        let columns = if shared {
            elements.min(SHARED_COLUMNS)
        } else {
            elements
        };
        let column_blocks = columns.div_ceil(threads);
        let most = match in_shared {
            Some(_) => BLOCKS,
            None => BLOCKS.min(SCRATCH_BYTES / (threads * of_column * element.bytes())),
        };
        let wanted = (most / column_blocks.max(1)).clamp(1, samples.max(1));
        let samples_per_chunk = samples.div_ceil(wanted).max(1);
        let chunks = samples.div_ceil(samples_per_chunk);
        let blocks = column_blocks * chunks;
        Self {
            threads,
            shared_bytes,
            scratch_elements: match in_shared {
                Some(_) => 0,
                None => blocks * of_column * threads,
            },
            columns,
            column_blocks,
            samples_per_chunk,
            chunks,
            parts: if shared { blocks } else { chunks },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(samples: usize, elements: usize, bins: usize, shared: bool) -> SplinePlan {
        let sizes = SplineSizes {
            samples,
            elements,
            bins,
            shared,
        };
        spline_plan(&sizes, Kind::Float, Direction::Forward, 3.0).unwrap()
    }

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../../kernels/spline.cu");
        for kind in [Kind::Float, Kind::Double] {
            let sizes = SplineSizes {
                samples: 2,
                elements: 5,
                bins: 3,
                shared: true,
            };
            let plan = spline_plan(&sizes, kind, Direction::Inverse, 3.0).unwrap();
            for launch in plan.forward.iter().chain(&plan.backward) {
                let name = launch.kernel;
                assert!(source.contains(&format!(" {name},")), "{name}");
                assert_eq!(name.ends_with("f64"), kind == Kind::Double);
            }
            assert_eq!(plan.params.inverse, 1);
        }
        let knots = include_str!("../../../kernels/spline_knots.cuh");
        assert!(knots.contains(&format!("kBinFields = {BIN_FIELDS};")));
        assert!(source.contains(&format!("kSums = {SUMS};")));
        let header = include_str!("../../../kernels/spline.cuh");
        for (constant, number) in [
            ("kSplineThreads", THREADS),
            ("kSplineGradThreads", GRAD_THREADS),
            ("kSplineSets", GRAD_SETS),
        ] {
            assert!(header.contains(&format!("{constant} = {number};")));
        }
    }

    #[test]
    fn the_chunks_cover_the_batch_and_every_set_has_a_column() {
        for (samples, elements, bins, shared) in [
            (100, 784, 4, false),
            (100, 3072, 10, true),
            (100, 784, 32, true),
            (100, 3072, 500, true),
            (2, 100_000, 500, false),
            (1, 5, 4, true),
            (7, 1, 1, false),
            (1000, 70_000, 4, false),
        ] {
            let plan = plan(samples, elements, bins, shared);
            let params = &plan.params;
            let [x, y, _] = plan.backward[0].grid.map(i64::from);
            let [threads, ..] = plan.backward[0].block.map(i64::from);
            assert!((y - 1) * params.samples_per_chunk < samples as i64);
            assert!(y * params.samples_per_chunk >= samples as i64);
            assert!(params.sets == 1 || params.columns == params.sets);
            assert!(x * threads >= params.columns && (x - 1) * threads < params.columns);
            assert_eq!(params.parts, if shared { x * y } else { y });
            let rows = 7 * bins as i64;
            let partials = rows * params.parts * params.sets;
            assert_eq!(plan.partial_elements as i64, partials);
            let scratch = plan.scratch_elements as i64;
            assert!(scratch == 0 || scratch == x * y * rows * threads);
            assert_eq!(scratch == 0, bins <= 54, "{bins}");
            if shared {
                assert!(scratch * 4 <= SCRATCH_BYTES as i64);
            }
        }
    }

    #[test]
    fn a_shared_set_needs_one_launch_forward_and_two_backward() {
        for (shared, forward) in [(true, 1), (false, 2)] {
            let plan = plan(100, 784, 10, shared);
            assert_eq!((plan.forward.len(), plan.backward.len()), (forward, 2));
            // without opt-in on any card
            let launches = plan.forward.iter().chain(&plan.backward);
            assert!(launches
                .into_iter()
                .all(|launch| launch.shared_bytes as usize <= SHARED_BYTES));
        }
    }

    #[test]
    fn nothing_is_launched_for_nothing() {
        for (samples, elements) in [(0, 5), (5, 0)] {
            let plan = plan(samples, elements, 4, true);
            assert!(plan
                .forward
                .iter()
                .chain(&plan.backward)
                .all(Launch::is_empty));
        }
    }
}
