//! The affine coupling on the GPU: parameters, plan, launches. `kernels/coupling.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::{address, expect, workspace};
use crate::problem::Direction;
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Kind, Tensor};

/// Threads of a block; twin: `kCouplingThreads`.
const THREADS: i64 = 256;
/// Moved elements of a sample that one block takes, so that no second launch is needed at the sizes of the models.
const CHUNK_ELEMENTS: i64 = 64 * THREADS;

/// Parameters of all stages: field for field the twin of `CouplingParams` in `kernels/coupling.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // in coupling.cuh
pub struct CouplingParams {
    pub x: u64,
    pub net: u64,
    pub value: u64,
    pub log_det: u64,
    pub partials: u64,
    pub value_grad: u64,
    pub log_det_grad: u64,
    pub x_grad: u64,
    pub net_grad: u64,
    pub samples: i64,
    pub half: i64,
    pub pixels: i64,
    pub elements_per_chunk: i64,
    pub chunks: i32,
    pub inverse: i32,
}

const _: () = {
    assert!(size_of::<CouplingParams>() == 112);
    assert!(offset_of!(CouplingParams, samples) == 72);
    assert!(offset_of!(CouplingParams, inverse) == 108);
};

/// Launches of both passes, and how much memory they need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouplingPlan {
    /// Values with the log-det of every sample or chunk; then, where there are several, their sum.
    pub forward: Vec<Launch>,
    /// All gradients.
    pub backward: [Launch; 1],
    /// Elements of `partials`, float64.
    pub partial_elements: usize,
    /// Parameters of all launches, with the pointers to be filled in.
    pub params: CouplingParams,
}

/// Plans both passes over `[samples, 2 half, pixels]` of dtype `kind`. Pure: it depends on the sizes alone, and so do the
/// results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more samples than a grid reaches.
pub fn coupling_plan(
    [samples, half, pixels]: [i64; 3],
    kind: Kind,
    direction: Direction,
) -> Result<CouplingPlan> {
    let element = Element::of("affine_coupling", kind)?;
    let chunks = div_up(half * pixels, CHUNK_ELEMENTS);
    let blocks = samples * chunks;
    if blocks > MAX_GRID_X {
        let text = format!(
            "has too many elements for one launch: [{samples}, {half} of {}, {pixels}]",
            2 * half
        );
        return Err(Error::argument("affine_coupling", "x", text));
    }
    let sums = THREADS * Element::F64.bytes() as i64;
    let launch = |stage: [&'static str; 2], blocks: i64, shared_bytes: i64| Launch {
        image: "coupling",
        kernel: stage[usize::from(element == Element::F64)],
        grid: [if chunks == 0 { 0 } else { blocks as u32 }, 1, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: shared_bytes as u32,
    };
    let mut forward = vec![launch(
        ["coupling_apply_f32", "coupling_apply_f64"],
        blocks,
        sums,
    )];
    if chunks > 1 {
        forward.push(launch(
            ["coupling_sum_f32", "coupling_sum_f64"],
            samples,
            sums,
        ));
    }
    Ok(CouplingPlan {
        forward,
        backward: [launch(
            ["coupling_backward_f32", "coupling_backward_f64"],
            blocks,
            0,
        )],
        partial_elements: if chunks > 1 { blocks as usize } else { 0 },
        params: CouplingParams {
            samples,
            half,
            pixels,
            elements_per_chunk: CHUNK_ELEMENTS,
            chunks: chunks as i32,
            inverse: i32::from(direction == Direction::Inverse),
            ..CouplingParams::default()
        },
    })
}

/// One call on a GPU: `[samples, half, pixels]` and the direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CouplingOnGpu {
    pub sizes: [i64; 3],
    pub direction: Direction,
}

impl CouplingOnGpu {
    /// The plan with the addresses of x and of what the net said, and the GPU. All tensors are contiguous.
    fn plan(&self, [x, net]: [&Tensor; 2]) -> Result<(usize, CouplingPlan)> {
        let [samples, half, pixels] = self.sizes;
        let size = x.size();
        let index = expect(&[(x, &size), (net, &size)])?;
        if x.numel() as i64 != samples * 2 * half * pixels {
            let text =
                format!("expected a size of {samples} x 2 x {half} x {pixels}, got {size:?}");
            return Err(Error::Cuda(text));
        }
        let mut plan = coupling_plan(self.sizes, x.kind(), self.direction)?;
        (plan.params.x, plan.params.net) = (address(x), address(net));
        Ok((index, plan))
    }

    /// Value and log-det; nothing waits for the device.
    ///
    /// # Errors
    /// The tensors are not of the call's sizes, or a launch fails.
    pub(crate) fn forward(&self, inputs: [&Tensor; 2]) -> Result<[Tensor; 2]> {
        let x = inputs[0];
        let (index, mut plan) = self.plan(inputs)?;
        let value = x.f_empty_like()?;
        let log_det = Tensor::f_empty([self.sizes[0]], (x.kind(), x.device()))?;
        let partials = workspace(plan.partial_elements, Kind::Double, index)?;
        let params = &mut plan.params;
        (params.value, params.log_det) = (address(&value), address(&log_det));
        params.partials = partials.as_ref().map_or(0, address);
        // SAFETY: the parameters of these kernels, with tensors of the plan's sizes, checked or made above; torch's
        // allocator hands their memory on in the order of this very stream, so also the workspace outlives both.
        unsafe { launch_all(index, &plan.forward, &plan.params)? };
        Ok([value, log_det])
    }

    /// The gradients of x and of what the net said from those of value and log-det.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub(crate) fn backward(
        &self,
        inputs: [&Tensor; 2],
        incoming: [&Tensor; 2],
    ) -> Result<[Tensor; 2]> {
        let x = inputs[0];
        let (index, mut plan) = self.plan(inputs)?;
        expect(&[
            (x, &x.size()),
            (incoming[0], &x.size()),
            (incoming[1], &[self.sizes[0]]),
        ])?;
        let made = [x.f_empty_like()?, inputs[1].f_empty_like()?];
        let params = &mut plan.params;
        [params.value_grad, params.log_det_grad] = incoming.map(address);
        [params.x_grad, params.net_grad] = made.each_ref().map(address);
        // SAFETY: as above.
        unsafe { launch_all(index, &plan.backward, &plan.params)? };
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sizes: [i64; 3], kind: Kind) -> CouplingPlan {
        coupling_plan(sizes, kind, Direction::Inverse).unwrap()
    }

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../kernels/coupling.cu");
        for kind in [Kind::Float, Kind::Double] {
            let plan = plan([2, 3, 10_000], kind);
            assert_eq!(plan.forward.len(), 2);
            for launch in plan.forward.iter().chain(&plan.backward) {
                assert!(
                    source.contains(&format!(" {})", launch.kernel)),
                    "{launch:?}"
                );
                assert_eq!(launch.kernel.ends_with("f64"), kind == Kind::Double);
            }
        }
        let header = include_str!("../../kernels/coupling.cuh");
        assert!(header.contains(&format!("kCouplingThreads = {THREADS};")));
    }

    #[test]
    fn chunks_cover_every_element() {
        for sizes in [[100, 6, 256], [1, 1, 1], [7, 5, 49], [100, 6, 65_536]] {
            let [samples, half, pixels] = sizes;
            let plan = plan(sizes, Kind::Float);
            let params = &plan.params;
            let chunks = i64::from(params.chunks);
            assert!(chunks * params.elements_per_chunk >= half * pixels);
            assert!((chunks - 1) * params.elements_per_chunk < half * pixels);
            for launch in [plan.forward[0], plan.backward[0]] {
                assert_eq!(i64::from(launch.grid[0]), samples * chunks);
            }
            assert_eq!(plan.forward.len(), if chunks > 1 { 2 } else { 1 });
        }
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        let err = coupling_plan([1 << 31, 1, 1], Kind::Float, Direction::Forward).unwrap_err();
        assert!(err.to_string().contains("too many elements"), "{err}");
        assert!(coupling_plan([1, 1, 1], Kind::Half, Direction::Forward).is_err());
        assert!(plan([0, 3, 4], Kind::Float).backward[0].is_empty());
        assert!(plan([2, 3, 0], Kind::Float).backward[0].is_empty());
    }
}
