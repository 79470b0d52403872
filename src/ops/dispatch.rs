//! What the operators do at each dispatch key: compute on a device, or record for autograd.

use super::{cpu, Corner, Geometry};
use crate::ffi::memory::{slice, slice_mut};
use crate::ffi::operator::{call, Level, Op};
use crate::ffi::{apply, CustomFn, Saved};
use crate::{cuda, Error, Result};
use tch::{Device, Kind, Tensor};

/// The operator's name as users call it; the internal ones are reported as the public operator they differentiate.
fn name(op: Op) -> &'static str {
    match op {
        Op::Solve | Op::SolveAdjoint => "inv_conv2d",
        Op::Conv | Op::ConvAdjoint => "masked_conv2d",
        Op::WeightGrad => "_conv2d_weight_grad",
    }
}

/// Runs the kernel of the tensors' device. `b` is the weight, or for the weight gradient the gradient `u`, and `shape` is
/// the tensor whose shape a weight gradient takes.
pub(crate) fn compute(
    op: Op,
    a: &Tensor,
    b: &Tensor,
    shape: Option<&Tensor>,
    corners: &[Corner],
) -> Result<Tensor> {
    let geometry = match (op, shape) {
        (Op::WeightGrad, Some(weight)) => {
            Geometry::check(name(op), a, weight, corners)?;
            let kernel = weight.size()[3];
            Geometry::check_weight_grad(name(op), a, b, kernel, corners)?
        }
        (Op::WeightGrad, None) => return Err(Error::argument(name(op), "weight", "is missing")),
        _ => Geometry::check(name(op), a, b, corners)?,
    };
    let size = if op == Op::WeightGrad {
        geometry.weight_size()
    } else {
        geometry.image_size()
    };
    let options = (a.kind(), a.device());
    if a.numel() == 0 {
        return Ok(Tensor::f_zeros(size, options)?);
    }
    let (a, b) = (a.f_contiguous()?, b.f_contiguous()?);
    let mut out = Tensor::f_empty(size, options)?;
    match (a.device(), a.kind()) {
        (Device::Cpu, Kind::Float) => on_cpu::<f32>(op, &geometry, &a, &b, corners, &mut out)?,
        (Device::Cpu, Kind::Double) => on_cpu::<f64>(op, &geometry, &a, &b, corners, &mut out)?,
        (Device::Cuda(_), Kind::Float | Kind::Double) => {
            cuda::run(op, &geometry, &a, &b, corners, &mut out)?;
        }
        (device, kind) => {
            return Err(Error::argument(
                name(op),
                "input",
                format!("must be on the CPU or a GPU, got {kind:?} on {device:?}"),
            ))
        }
    }
    Ok(out)
}

fn on_cpu<T: cpu::Real>(
    op: Op,
    geometry: &Geometry,
    a: &Tensor,
    b: &Tensor,
    corners: &[Corner],
    out: &mut Tensor,
) -> Result<()> {
    cpu::instruction_set()?;
    let (a, b, out) = (slice::<T>(a)?, slice::<T>(b)?, slice_mut::<T>(out)?);
    match op {
        Op::Solve => cpu::solve(name(op), geometry, a, b, corners, false, out)?,
        Op::SolveAdjoint => cpu::solve(name(op), geometry, a, b, corners, true, out)?,
        Op::Conv => cpu::conv(geometry, a, b, corners, false, out),
        Op::ConvAdjoint => cpu::conv(geometry, a, b, corners, true, out),
        Op::WeightGrad => cpu::weight_grad(geometry, a, b, corners, out),
    }
    Ok(())
}

/// Records the operator and runs it below autograd.
pub(crate) fn record(
    op: Op,
    a: &Tensor,
    b: &Tensor,
    shape: Option<&Tensor>,
    corners: Vec<Corner>,
) -> Result<Tensor> {
    let function = Recorded { op, corners };
    let outputs = match shape {
        Some(shape) => apply(function, &[a, b, shape])?,
        None => apply(function, &[a, b])?,
    };
    outputs
        .into_iter()
        .next()
        .ok_or_else(|| Error::Torch("an operator returned nothing".into()))
}

/// One call in the autograd graph.
///
/// Every operator is linear in each of its arguments, and the five close under differentiation; `A` is the masked
/// convolution, `G(x, u)` the weight gradient:
///
/// ```text
/// x = A⁻¹ y     u := A⁻ᵀ dx     dy = u          dW = -G(x, u)
/// x = A⁻ᵀ y     u := A⁻¹ dx     dy = u          dW = -G(u, x)
/// y = A x                       dx = Aᵀ dy      dW =  G(x, dy)
/// y = Aᵀ x                      dx = A dy       dW =  G(dy, x)
/// g = G(x, u)                   dx = A(dg)ᵀ u   du = A(dg) x
/// ```
///
/// The first line is the implicit function theorem: `A x = y` gives `A dx + dA x = dy`. The backward calls the
/// differentiable operators themselves, so that under `create_graph` derivatives of any order are right.
struct Recorded {
    op: Op,
    corners: Vec<Corner>,
}

impl CustomFn for Recorded {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let out = call(
            self.op,
            Level::Kernel,
            &inputs[0],
            &inputs[1],
            inputs.get(2),
            &self.corners,
        )?;
        // a solve is differentiated at its solution, a convolution at its input
        let at = if matches!(self.op, Op::Solve | Op::SolveAdjoint) {
            &out
        } else {
            &inputs[0]
        };
        saved.save(at);
        saved.save(&inputs[1]);
        Ok(vec![out])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let nothing = || needs.iter().map(|_| None).collect();
        let (Some(grad), [at, second]) = (&grads[0], saved) else {
            return Ok(nothing());
        };
        let run = |op, a: &Tensor, b: &Tensor| call(op, Level::Autograd, a, b, None, &self.corners);
        let weight_grad = |x: &Tensor, u: &Tensor| {
            call(
                Op::WeightGrad,
                Level::Autograd,
                x,
                u,
                Some(second),
                &self.corners,
            )
        };
        let when =
            |wanted: bool, gradient: &dyn Fn() -> Result<Tensor>| wanted.then(gradient).transpose();
        match self.op {
            Op::Solve => {
                let u = run(Op::SolveAdjoint, grad, second)?;
                let weight = when(needs[1], &|| Ok(weight_grad(at, &u)?.f_neg()?))?;
                Ok(vec![Some(u), weight])
            }
            Op::SolveAdjoint => {
                let u = run(Op::Solve, grad, second)?;
                let weight = when(needs[1], &|| Ok(weight_grad(&u, at)?.f_neg()?))?;
                Ok(vec![Some(u), weight])
            }
            Op::Conv => Ok(vec![
                when(needs[0], &|| run(Op::ConvAdjoint, grad, second))?,
                when(needs[1], &|| weight_grad(at, grad))?,
            ]),
            Op::ConvAdjoint => Ok(vec![
                when(needs[0], &|| run(Op::Conv, grad, second))?,
                when(needs[1], &|| weight_grad(grad, at))?,
            ]),
            // here `second` is u, and the incoming gradient has the shape of the weight
            Op::WeightGrad => Ok(vec![
                when(needs[0], &|| run(Op::ConvAdjoint, second, grad))?,
                when(needs[1], &|| run(Op::Conv, at, grad))?,
                None,
            ]),
        }
    }
}
