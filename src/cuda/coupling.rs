//! The affine coupling on the GPU: parameters, plan, launches. `kernels/coupling.cu` explains the stages.

use super::current::launch_all;
use super::kernels::Element;
use super::launch::{div_up, Launch, MAX_GRID_X};
use super::tensors::{address, expect, workspace};
use crate::problem::{AffineForm, Direction, LogScale};
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
    pub kept: i64,
    pub moved: i64,
    pub pixels: i64,
    pub elements_per_chunk: i64,
    pub kept_per_chunk: i64,
    pub scale_channel: i64,
    pub shift_channel: i64,
    pub channel_step: i64,
    pub chunks: i32,
    pub inverse: i32,
    pub log_scale: i32,
    pub shift_before: i32,
    pub shift_after: i32,
    pub unused: i32,
}

const _: () = {
    assert!(size_of::<CouplingParams>() == 168);
    assert!(offset_of!(CouplingParams, samples) == 72);
    assert!(offset_of!(CouplingParams, shift_after) == 160);
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

/// Sizes of one call: of x `[samples, kept + moved, pixels]`, and of what the net says, `[samples, 2 moved, pixels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // as in `CouplingParams`
pub struct CouplingSizes {
    pub samples: i64,
    pub kept: i64,
    pub moved: i64,
    pub pixels: i64,
}

/// Twin: `CouplingLogScale`.
fn log_scale_number(form: AffineForm) -> i32 {
    match form.log_scale() {
        LogScale::Bounded => 0,
        LogScale::Sigmoid => 1,
        LogScale::Negative => 2,
    }
}

/// Plans both passes over a call of dtype `kind`. Pure: it depends on the sizes alone, and so do the results.
///
/// # Errors
/// [`Error::Argument`] for a dtype without kernels, or more samples than a grid reaches.
pub fn coupling_plan(
    sizes: CouplingSizes,
    kind: Kind,
    form: AffineForm,
    direction: Direction,
) -> Result<CouplingPlan> {
    let CouplingSizes {
        samples,
        kept,
        moved,
        pixels,
    } = sizes;
    let element = Element::of("affine_coupling", kind)?;
    let chunks = div_up(moved * pixels, CHUNK_ELEMENTS);
    let blocks = samples * chunks;
    if blocks > MAX_GRID_X {
        let text = format!("has too many elements for one launch: {sizes:?}");
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
    let inverse = direction == Direction::Inverse;
    let layout = form.layout(moved);
    let [shift_before, shift_after] = form.shifts(inverse);
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
            kept,
            moved,
            pixels,
            elements_per_chunk: CHUNK_ELEMENTS,
            kept_per_chunk: div_up(kept * pixels, chunks.max(1)),
            scale_channel: layout.scale,
            shift_channel: layout.shift,
            channel_step: layout.step,
            chunks: chunks as i32,
            inverse: i32::from(inverse),
            log_scale: log_scale_number(form),
            shift_before: shift_before as i32,
            shift_after: shift_after as i32,
            ..CouplingParams::default()
        },
    })
}

/// One call on a GPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CouplingOnGpu {
    pub sizes: CouplingSizes,
    pub form: AffineForm,
    pub direction: Direction,
}

impl CouplingOnGpu {
    /// The plan with the addresses of x and of what the net said, and the GPU. All tensors are contiguous.
    fn plan(&self, [x, net]: [&Tensor; 2]) -> Result<(usize, CouplingPlan)> {
        let CouplingSizes {
            samples,
            kept,
            moved,
            pixels,
        } = self.sizes;
        let index = expect(&[(x, &x.size()), (net, &net.size())])?;
        let elements = [kept + moved, 2 * moved].map(|channels| samples * channels * pixels);
        if [x, net].map(|tensor| tensor.numel() as i64) != elements {
            let (x, net) = (x.size(), net.size());
            let text = format!("expected {:?}, got sizes of {x:?} and {net:?}", self.sizes);
            return Err(Error::Cuda(text));
        }
        let mut plan = coupling_plan(self.sizes, x.kind(), self.form, self.direction)?;
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
        let log_det = Tensor::f_empty([self.sizes.samples], (x.kind(), x.device()))?;
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
            (incoming[1], &[self.sizes.samples]),
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

    fn sizes([samples, kept, moved, pixels]: [i64; 4]) -> CouplingSizes {
        CouplingSizes {
            samples,
            kept,
            moved,
            pixels,
        }
    }

    fn plan(of: [i64; 4], kind: Kind) -> CouplingPlan {
        coupling_plan(sizes(of), kind, AffineForm::Bounded, Direction::Inverse).unwrap()
    }

    #[test]
    fn every_stage_names_a_kernel_of_its_source() {
        let source = include_str!("../../kernels/coupling.cu");
        for kind in [Kind::Float, Kind::Double] {
            let plan = plan([2, 0, 3, 10_000], kind);
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
        for (form, name) in [
            (AffineForm::Bounded, "Bounded"),
            (AffineForm::ShiftedSigmoid, "Sigmoid"),
            (AffineForm::Gaussian, "Negative"),
        ] {
            let number = log_scale_number(form);
            assert!(header.contains(&format!("kCoupling{name} = {number},")));
        }
    }

    #[test]
    fn chunks_cover_every_element() {
        for of in [
            [100, 6, 6, 256],
            [1, 1, 1, 1],
            [7, 3, 5, 49],
            [100, 6, 6, 65_536],
            [5, 70_000, 1, 9],
            [5, 0, 70_000, 9],
        ] {
            let [samples, kept, moved, pixels] = of;
            let plan = plan(of, Kind::Float);
            let params = &plan.params;
            let chunks = i64::from(params.chunks);
            assert!(chunks * params.elements_per_chunk >= moved * pixels);
            assert!((chunks - 1) * params.elements_per_chunk < moved * pixels);
            assert!(chunks * params.kept_per_chunk >= kept * pixels);
            for launch in [plan.forward[0], plan.backward[0]] {
                assert_eq!(i64::from(launch.grid[0]), samples * chunks);
            }
            assert_eq!(plan.forward.len(), if chunks > 1 { 2 } else { 1 });
        }
    }

    #[test]
    fn what_no_launch_can_do_is_an_error() {
        let large = sizes([1 << 31, 1, 1, 1]);
        let refused = |sizes, kind| {
            coupling_plan(sizes, kind, AffineForm::Bounded, Direction::Forward)
                .unwrap_err()
                .to_string()
        };
        let err = refused(large, Kind::Float);
        assert!(err.contains("too many elements"), "{err}");
        refused(sizes([1, 1, 1, 1]), Kind::Half);
        assert!(plan([0, 3, 3, 4], Kind::Float).backward[0].is_empty());
        assert!(plan([2, 3, 3, 0], Kind::Float).backward[0].is_empty());
    }
}
