//! Butterfly factors on the GPU: parameters, plan, launches. `kernels/butterfly.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::{address, expect};
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a block; twin: `kButterflyThreads`.
const THREADS: i64 = 256;
/// Pairs of a block in the backward pass; twin: `kButterflyLanes`.
const LANES: i64 = 32;
/// Pairs of a block in the forward pass: four a thread.
const BLOCK_PAIRS: i64 = 4 * THREADS;

/// Parameters of both stages: field for field the twin of `ButterflyParams` in `kernels/butterfly.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in butterfly.cuh
pub struct ButterflyParams {
    pub x: u64,
    pub factor: u64,
    pub value: u64,
    pub log_det: u64,
    pub value_grad: u64,
    pub log_det_grad: u64,
    pub x_grad: u64,
    pub factor_grad: u64,
    pub samples: i64,
    pub blocks: i64,
    pub pairs: i64,
    pub pairs_per_block: i64,
}

const _: () = {
    assert!(size_of::<ButterflyParams>() == 96);
    assert!(offset_of!(ButterflyParams, samples) == 64);
};

/// Launches of both passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ButterflyPlan {
    /// Value and log-det.
    pub forward: [Launch; 1],
    /// All gradients.
    pub backward: [Launch; 1],
    /// Parameters of both launches, with the pointers to be filled in.
    pub params: ButterflyParams,
}

/// Plans both passes over `[samples, blocks, 2, pairs]` of dtype `kind`. Pure: it depends on the sizes alone, and so do the
/// results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more elements than a grid reaches.
pub fn butterfly_plan([samples, blocks, pairs]: [i64; 3], kind: Kind) -> Result<ButterflyPlan> {
    let element = Element::of("butterfly", kind)?;
    let forward = div_up(samples * blocks * pairs, BLOCK_PAIRS);
    let backward = div_up(blocks * pairs, LANES);
    if forward > MAX_GRID_X || backward > MAX_GRID_X {
        let text =
            format!("has too many elements for one launch: [{samples}, {blocks}, 2, {pairs}]");
        return Err(Error::argument("butterfly", "x", text));
    }
    let launch = |stage: [&'static str; 2], grid: i64, sums: i64| Launch {
        image: "butterfly",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [if samples == 0 { 0 } else { grid as u32 }, 1, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: (sums * THREADS * Element::F64.bytes() as i64) as u32,
    };
    Ok(ButterflyPlan {
        forward: [launch(
            ["butterfly_apply_f32", "butterfly_apply_f64"],
            forward,
            1,
        )],
        backward: [launch(
            ["butterfly_backward_f32", "butterfly_backward_f64"],
            backward,
            4,
        )],
        params: ButterflyParams {
            samples,
            blocks,
            pairs,
            pairs_per_block: BLOCK_PAIRS,
            ..ButterflyParams::default()
        },
    })
}

/// The plan for x and its factor with their addresses, and the GPU. Both are contiguous.
fn plan([x, factor]: [&Tensor; 2]) -> Result<(usize, ButterflyPlan)> {
    let (size, factor_size) = (x.size(), factor.size());
    let index = expect(&[(x, &size), (factor, &factor_size)])?;
    let [blocks, 2, 2, pairs] = factor_size[..] else {
        let text = format!("expected a factor [blocks, 2, 2, pairs], got {factor_size:?}");
        return Err(Error::Cuda(text));
    };
    let samples = size[0];
    if x.numel() as i64 != samples * blocks * 2 * pairs {
        let text = format!("expected images for a factor {factor_size:?}, got {size:?}");
        return Err(Error::Cuda(text));
    }
    let mut plan = butterfly_plan([samples, blocks, pairs], x.kind())?;
    (plan.params.x, plan.params.factor) = (address(x), address(factor));
    Ok((index, plan))
}

/// Value and log-det; nothing waits for the device.
///
/// # Errors
/// The tensors do not fit together, or the launch fails.
pub(crate) fn forward(inputs: [&Tensor; 2]) -> Result<[Tensor; 2]> {
    let x = inputs[0];
    let (index, mut plan) = plan(inputs)?;
    let value = x.f_empty_like()?;
    let log_det = Tensor::f_empty([plan.params.samples], (x.kind(), x.device()))?;
    (plan.params.value, plan.params.log_det) = (address(&value), address(&log_det));
    // SAFETY: the parameters of this kernel, with tensors of the plan's sizes, checked or made above; torch's allocator hands
    // their memory on in the order of this very stream.
    unsafe { launch_all(index, &plan.forward, &plan.params)? };
    Ok([value, log_det])
}

/// The gradients of x and of the factor from those of value and log-det.
///
/// # Errors
/// As [`forward`].
pub(crate) fn backward(inputs: [&Tensor; 2], incoming: [&Tensor; 2]) -> Result<[Tensor; 2]> {
    let x = inputs[0];
    let (index, mut plan) = plan(inputs)?;
    expect(&[
        (x, &x.size()),
        (incoming[0], &x.size()),
        (incoming[1], &[plan.params.samples]),
    ])?;
    let made = [x.f_empty_like()?, inputs[1].f_empty_like()?];
    [plan.params.value_grad, plan.params.log_det_grad] = incoming.map(address);
    [plan.params.x_grad, plan.params.factor_grad] = made.each_ref().map(address);
    // SAFETY: as above.
    unsafe { launch_all(index, &plan.backward, &plan.params)? };
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../kernels/butterfly.cu");
        for kind in [Kind::Float, Kind::Double] {
            let plan = butterfly_plan([2, 4, 3], kind).unwrap();
            for launch in plan.forward.iter().chain(&plan.backward) {
                assert!(
                    source.contains(&format!(" {})", launch.kernel)),
                    "{launch:?}"
                );
                assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            }
        }
        let header = include_str!("../../kernels/butterfly.cuh");
        assert!(header.contains(&format!("kButterflyThreads = {THREADS};")));
        assert!(header.contains(&format!("kButterflyLanes = {LANES};")));
    }

    #[test]
    fn blocks_cover_every_pair() {
        for [samples, blocks, pairs] in [[100, 1, 1536], [7, 8, 49], [3, 512, 1]] {
            let plan = butterfly_plan([samples, blocks, pairs], Kind::Float).unwrap();
            let reached = i64::from(plan.forward[0].grid[0]) * plan.params.pairs_per_block;
            assert!(reached >= samples * blocks * pairs);
            assert!(i64::from(plan.backward[0].grid[0]) * LANES >= blocks * pairs);
        }
        assert!(butterfly_plan([0, 2, 3], Kind::Float).unwrap().backward[0].is_empty());
        assert!(butterfly_plan([1 << 40, 2, 3], Kind::Float).is_err());
        assert!(butterfly_plan([1, 2, 3], Kind::Half).is_err());
    }
}
