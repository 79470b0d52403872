//! Parameters and launch plan of the spline. `kernels/spline.cu` explains the stages.

use crate::cuda::kernels::Element;
use crate::cuda::launch::Launch;
use crate::problem::spline::{derivative_offset, SplineSizes};
use crate::problem::Direction;
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::Kind;

/// Threads of a block; twin: `kSplineThreads`.
const THREADS: usize = 128;
/// Threads with sums of their own at most where all elements share one set; a few blocks of them.
const SHARED_COLUMNS: usize = 1024;
/// Blocks that backward cuts the batch for: a few for each multiprocessor of the largest device.
const BLOCKS: usize = 512;
/// Blocks along x at most where the threads stride over the rest.
const MAX_GRID: usize = 65_535;
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
    pub partials: u64,
    pub sums: u64,
    pub knot_grads: u64,
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
    pub chunks: i64,
    pub samples_per_chunk: i64,
    pub bins: i32,
    pub inverse: i32,
}

const _: () = {
    assert!(size_of::<SplineParams>() == 200);
    assert!(offset_of!(SplineParams, tail) == 128);
    assert!(offset_of!(SplineParams, bins) == 192);
};

/// Launches of both passes, in order, and how much memory they need.
#[derive(Debug, Clone, PartialEq)]
pub struct SplinePlan {
    /// Knots, then values.
    pub forward: [Launch; 2],
    /// Knots, partial sums with the elements' gradient, sums, the raw numbers' gradient.
    pub backward: [Launch; 4],
    /// Elements of `table`, of the images' dtype.
    pub table_elements: usize,
    /// Elements of `partials`, of the images' dtype.
    pub partial_elements: usize,
    /// Elements of `sums`, float64.
    pub sum_elements: usize,
    /// Elements of `knot_grads`, float64.
    pub knot_elements: usize,
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
    let columns = if shared {
        elements.min(SHARED_COLUMNS)
    } else {
        elements
    };
    let column_blocks = columns.div_ceil(THREADS);
    let wanted = BLOCKS
        .div_ceil(column_blocks.max(1))
        .clamp(1, samples.max(1));
    let samples_per_chunk = samples.div_ceil(wanted).max(1);
    let chunks = samples.div_ceil(samples_per_chunk);
    let launch = |stage: [&'static str; 2], [x, y]: [usize; 2], shared_bytes: usize| Launch {
        image: "spline",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [
            if samples * elements == 0 { 0 } else { x as u32 },
            y as u32,
            1,
        ],
        block: [THREADS as u32, 1, 1],
        shared_bytes: shared_bytes as u32,
    };
    let over_sets = [sets.div_ceil(THREADS).min(MAX_GRID), 1];
    let knots = launch(["spline_knots_f32", "spline_knots_f64"], over_sets, 0);
    Ok(SplinePlan {
        forward: [
            knots,
            launch(
                ["spline_apply_f32", "spline_apply_f64"],
                [samples, 1],
                THREADS * element.bytes(),
            ),
        ],
        backward: [
            knots,
            launch(
                ["spline_backward_f32", "spline_backward_f64"],
                [column_blocks, chunks],
                0,
            ),
            launch(
                ["spline_sum_f32", "spline_sum_f64"],
                [rows, 1],
                THREADS * Element::F64.bytes(),
            ),
            launch(["spline_raw_grad_f32", "spline_raw_grad_f64"], over_sets, 0),
        ],
        table_elements: sets * bins * BIN_FIELDS,
        partial_elements: chunks * rows * columns,
        sum_elements: sets * rows,
        knot_elements: sets * 2 * (bins + 1),
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
            partials: 0,
            sums: 0,
            knot_grads: 0,
            x_grad: 0,
            widths_grad: 0,
            heights_grad: 0,
            derivatives_grad: 0,
            tail,
            offset: derivative_offset(),
            samples: samples as i64,
            elements: elements as i64,
            sets: sets as i64,
            columns: columns as i64,
            chunks: chunks as i64,
            samples_per_chunk: samples_per_chunk as i64,
            bins: bins as i32,
            inverse: i32::from(direction == Direction::Inverse),
        },
    })
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
                assert!(source.contains(&format!(" {name})")), "{name}");
                assert_eq!(name.ends_with("f64"), kind == Kind::Double);
            }
            assert_eq!(plan.params.inverse, 1);
        }
        assert!(source.contains(&format!("kBinFields = {BIN_FIELDS};")));
        assert!(source.contains(&format!("kSums = {SUMS};")));
    }

    #[test]
    fn the_chunks_cover_the_batch_and_every_set_has_a_column() {
        for (samples, elements, shared) in [
            (100, 784, false),
            (100, 3072, true),
            (1, 5, true),
            (7, 1, false),
            (1000, 70_000, false),
        ] {
            let plan = plan(samples, elements, 4, shared);
            let params = &plan.params;
            assert!((params.chunks - 1) * params.samples_per_chunk < samples as i64);
            assert!(params.chunks * params.samples_per_chunk >= samples as i64);
            assert!(params.sets == 1 || params.columns == params.sets);
            let [x, y, _] = plan.backward[1].grid;
            assert!(
                i64::from(x) * THREADS as i64 >= params.columns && i64::from(y) == params.chunks
            );
            assert_eq!(
                plan.partial_elements as i64,
                params.chunks * 28 * params.columns
            );
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
