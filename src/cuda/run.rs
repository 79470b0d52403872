//! The operators on the GPU: plan, fill in the tensors' addresses, launch.

use super::current::Current;
use super::device::Device;
use super::launch::{apply_plan, solve_plan, weight_grad_plan};
use super::singular::word;
use super::tensors::{address, expect, workspace};
use crate::problem::{Corner, Geometry, Op};
use crate::Result;
use tch::Tensor;

/// Runs the kernels of `op` on torch's current stream, without waiting for them. `a` and `b` are contiguous and of the
/// sizes that `geometry` says: images and weight, or for a weight gradient images twice.
///
/// # Errors
/// They are not; there is no plan; a launch fails.
pub(crate) fn run(
    op: Op,
    geometry: &Geometry,
    a: &Tensor,
    b: &Tensor,
    corners: &[Corner],
) -> Result<Tensor> {
    let b_size = match op {
        Op::WeightGrad | Op::SolveWeightGrad => geometry.image_size(),
        _ => geometry.weight_size(),
    };
    let index = expect(&[(a, &geometry.image_size()), (b, &b_size)])?;
    let device = Device::get(index)?;
    let current = Current::new(&device)?;
    let out = Tensor::f_empty(geometry.result_size(op), (a.kind(), a.device()))?;
    let adjoint = matches!(op, Op::SolveAdjoint | Op::ConvAdjoint);
    match op {
        Op::Solve | Op::SolveAdjoint => {
            let mut plan = solve_plan(geometry, a.kind(), corners, adjoint, device.shared_limit())?;
            (plan.params.y, plan.params.weight, plan.params.x) =
                (address(a), address(b), address(&out));
            // a zero on the diagonal is reported there, for whoever fetches numbers from the device
            plan.params.singular = address(&word(index)?);
            // images in bands need a few zeros in which the bands tell each other how far they are
            let words = plan.progress_words;
            let progress = workspace(words, tch::Kind::Int, index)?;
            // SAFETY: the parameters of this kernel, with tensors of the sizes in it, checked above; torch's
            // allocator hands their memory on in the order of this very stream, so it outlives the kernel.
            unsafe {
                if let Some(progress) = &progress {
                    plan.params.progress = address(progress);
                    current.zero(plan.params.progress, words * size_of::<i32>())?;
                }
                current.launch(&plan.launch, &plan.params)?;
            }
        }
        Op::Conv | Op::ConvAdjoint => {
            let mut plan = apply_plan(geometry, a.kind(), corners, adjoint)?;
            (plan.params.x, plan.params.weight, plan.params.y) =
                (address(a), address(b), address(&out));
            // SAFETY: as above.
            unsafe { current.launch(&plan.launch, &plan.params)? };
        }
        Op::WeightGrad | Op::SolveWeightGrad => {
            let mut plan = weight_grad_plan(geometry, a.kind(), corners, device.shared_limit())?;
            let partials =
                Tensor::f_empty([plan.workspace_elements as i64], (a.kind(), a.device()))?;
            let params = &mut plan.params;
            (params.x, params.u, params.partials, params.grad) =
                (address(a), address(b), address(&partials), address(&out));
            params.negative = i32::from(op == Op::SolveWeightGrad);
            // SAFETY: as above; the workspace is as large as the plan asks for, and its memory is handed on only after
            // both kernels in the order of the stream, though the tensor is dropped before they run.
            unsafe {
                current.launch(&plan.partial, &plan.params)?;
                current.launch(&plan.sum, &plan.params)?;
            }
        }
    }
    Ok(out)
}
