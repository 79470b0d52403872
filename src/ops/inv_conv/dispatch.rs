//! The entry point that torch's dispatcher calls below autograd: it chooses the kernel of the tensors' device.
//!
//! How a call is recorded, and the derivatives, are in `ffi/bridge.cpp`; `reference.rs` has their table.

use super::cpu;
use crate::ffi::memory::{slice, Fresh};
use crate::ffi::operator::{operator_entry, KernelCall};
use crate::ops::vector::{instruction_set, Real};
use crate::problem::{Geometry, Op};
use crate::{cuda, words, Error, Result};
use tch::{Device, Kind, Tensor};

operator_entry!(compute);

/// Runs the kernel of the tensors' device.
fn compute(call: &KernelCall<'_>) -> Result<Tensor> {
    let &KernelCall {
        op,
        a,
        b,
        shape,
        corners,
    } = call;
    let geometry = match (op, shape) {
        (Op::WeightGrad | Op::SolveWeightGrad, Some(weight)) => {
            Geometry::check(op.name(), a, weight, corners)?;
            let kernel = weight.size()[3];
            Geometry::check_weight_grad(op.name(), a, b, kernel, corners)?
        }
        (Op::WeightGrad | Op::SolveWeightGrad, None) => {
            return Err(Error::argument(op.name(), "weight", "is missing"));
        }
        _ => Geometry::check(op.name(), a, b, corners)?,
    };
    if a.numel() == 0 {
        let size = geometry.result_size(op);
        return Ok(Tensor::f_zeros(size, (a.kind(), a.device()))?);
    }
    let (a, b) = (&a.f_contiguous()?, &b.f_contiguous()?);
    let call = KernelCall { a, b, ..*call };
    match (a.device(), a.kind()) {
        (Device::Cpu, Kind::Float) => on_cpu::<f32>(&call, &geometry),
        (Device::Cpu, Kind::Double) => on_cpu::<f64>(&call, &geometry),
        (Device::Cuda(_), Kind::Float | Kind::Double) => cuda::run(op, &geometry, a, b, corners),
        (device, kind) => Err(Error::argument(
            op.name(),
            "input",
            format!(
                "must be on the CPU or a GPU, got {} on {}",
                words::dtype(kind),
                words::device(device)
            ),
        )),
    }
}

fn on_cpu<T: Real>(call: &KernelCall<'_>, geometry: &Geometry) -> Result<Tensor> {
    instruction_set()?;
    let (op, corners) = (call.op, call.corners);
    let mut fresh = Fresh::<T>::empty(&geometry.result_size(op))?;
    let (a, b, out) = (slice::<T>(call.a)?, slice::<T>(call.b)?, fresh.elements());
    match op {
        Op::Solve => cpu::solve(geometry, a, b, corners, false, out)?,
        Op::SolveAdjoint => cpu::solve(geometry, a, b, corners, true, out)?,
        Op::Conv => cpu::conv(geometry, a, b, corners, false, out),
        Op::ConvAdjoint => cpu::conv(geometry, a, b, corners, true, out),
        Op::WeightGrad => cpu::weight_grad(geometry, a, b, corners, out),
        Op::SolveWeightGrad => {
            cpu::weight_grad(geometry, a, b, corners, out);
            out.iter_mut().for_each(|entry| *entry = -*entry);
        }
    }
    Ok(fresh.into_tensor())
}
