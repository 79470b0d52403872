//! A call in the autograd graph: what all fused operators do alike.

use super::eager::is_eager;
use super::operator::{no_kernel, FusedOp};
use super::twin::gradients_by_twin;
use crate::ffi::autograd::{apply, CustomFn, Saved};
use crate::ffi::grad_enabled;
use crate::ffi::memory::{slice, Fresh};
use crate::ops::vector::Real;
use crate::Result;
use tch::{Device, Kind, Tensor};

/// Calls an operator: its kernels where they take the inputs, its twin elsewhere.
///
/// # Errors
/// What the kernels or the twin report.
pub fn run<O: FusedOp>(operator: O, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    if is_eager() || !operator.takes(inputs[0]) {
        return operator.twin(inputs);
    }
    apply(Recorded(operator), inputs)
}

struct Recorded<O>(O);

impl<O: FusedOp> CustomFn for Recorded<O> {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        inputs.iter().for_each(|input| saved.save(input));
        let sizes = self.0.output_sizes(inputs);
        let inputs = contiguous(inputs)?;
        let x = &inputs[0];
        let mut outputs = match (x.device(), x.kind()) {
            _ if x.numel() == 0 => zeros(x, &sizes)?,
            (Device::Cpu, Kind::Float) => self.forward_on_cpu::<f32>(&inputs, &sizes)?,
            (Device::Cpu, Kind::Double) => self.forward_on_cpu::<f64>(&inputs, &sizes)?,
            (Device::Cuda(_), _) => self.0.forward_on_gpu(&inputs)?,
            _ => return Err(no_kernel(O::NAME, x)),
        };
        for &kept in self.0.kept_outputs() {
            saved.save(&outputs[kept]);
        }
        let beside = outputs.split_off(sizes.len());
        beside.iter().for_each(|tensor| saved.save(tensor));
        Ok(outputs)
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        if grads.iter().all(Option::is_none) {
            return Ok(needs.iter().map(|_| None).collect());
        }
        let inputs = &saved[..needs.len()];
        if grad_enabled() {
            let twin = |inputs: &[Tensor]| self.0.twin(&inputs.iter().collect::<Vec<_>>());
            return gradients_by_twin(twin, grads, inputs, needs);
        }
        let sizes = self.0.output_sizes(inputs);
        let input_sizes: Vec<_> = inputs.iter().map(Tensor::size).collect();
        let saved = contiguous(saved)?;
        let x = &saved[0];
        let grads = self.grads_or_zeros(x, grads, &sizes)?;
        let made = match (x.device(), x.kind()) {
            _ if x.numel() == 0 => zeros(x, &input_sizes)?,
            (Device::Cpu, Kind::Float) => {
                self.backward_on_cpu::<f32>(&saved, &grads, &input_sizes)?
            }
            (Device::Cpu, Kind::Double) => {
                self.backward_on_cpu::<f64>(&saved, &grads, &input_sizes)?
            }
            (Device::Cuda(_), _) => self.0.backward_on_gpu(&saved, &grads)?,
            _ => return Err(no_kernel(O::NAME, x)),
        };
        let made = made.into_iter().zip(needs);
        Ok(made.map(|(grad, &need)| need.then_some(grad)).collect())
    }
}

impl<O: FusedOp> Recorded<O> {
    fn forward_on_cpu<T: Real>(
        &self,
        inputs: &[Tensor],
        sizes: &[Vec<i64>],
    ) -> Result<Vec<Tensor>> {
        let inputs = slices::<T>(inputs)?;
        written::<T>(sizes, |outputs| self.0.forward(&inputs, outputs))
    }

    fn backward_on_cpu<T: Real>(
        &self,
        saved: &[Tensor],
        grads: &[Tensor],
        sizes: &[Vec<i64>],
    ) -> Result<Vec<Tensor>> {
        let (saved, grads) = (slices::<T>(saved)?, slices::<T>(grads)?);
        written::<T>(sizes, |input_grads| {
            self.0.backward(&saved, &grads, input_grads);
        })
    }

    /// The outputs' gradients; zeros for an output that the loss does not depend on.
    fn grads_or_zeros(
        &self,
        x: &Tensor,
        grads: &[Option<Tensor>],
        sizes: &[Vec<i64>],
    ) -> Result<Vec<Tensor>> {
        let options = (x.kind(), x.device());
        let all = grads.iter().zip(sizes).map(|(grad, size)| match grad {
            Some(grad) => grad.f_contiguous(),
            None => Tensor::f_zeros(size, options),
        });
        Ok(all.collect::<std::result::Result<_, _>>()?)
    }
}

/// New tensors of these sizes, with what `write` has written.
fn written<T: Real>(sizes: &[Vec<i64>], write: impl FnOnce(Vec<&mut [T]>)) -> Result<Vec<Tensor>> {
    let fresh = sizes.iter().map(|size| Fresh::<T>::empty(size));
    let mut fresh = fresh.collect::<Result<Vec<_>>>()?;
    write(fresh.iter_mut().map(Fresh::elements).collect());
    Ok(fresh.into_iter().map(Fresh::into_tensor).collect())
}

fn slices<T: Real>(tensors: &[Tensor]) -> Result<Vec<&[T]>> {
    tensors.iter().map(slice::<T>).collect()
}

fn contiguous(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let all = tensors.iter().map(Tensor::f_contiguous);
    Ok(all.collect::<std::result::Result<_, _>>()?)
}

fn zeros(like: &Tensor, sizes: &[Vec<i64>]) -> Result<Vec<Tensor>> {
    let options = (like.kind(), like.device());
    let all = sizes.iter().map(|size| Tensor::f_zeros(size, options));
    Ok(all.collect::<std::result::Result<_, _>>()?)
}
