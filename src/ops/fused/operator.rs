//! What a fused operator is.

use crate::ops::vector::Real;
use crate::words::{device, dtype};
use crate::{Error, Result};
use tch::{Device, Tensor};

/// An operator whose two passes are one kernel each. An instance is one call: its sizes and options.
///
/// All tensors of a call have the element type and the device of the first input; [`run`](super::run) brings them in as
/// contiguous slices and makes what the passes write.
pub trait FusedOp: Send + Sync + 'static {
    /// The operator's name, for errors.
    const NAME: &'static str;

    /// Sizes of the outputs.
    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>>;

    /// Numbers of the outputs that the backward pass needs beside the inputs.
    fn kept_outputs(&self) -> &'static [usize] {
        &[]
    }

    /// Whether the kernels take tensors like `x`, the first input; else the twin runs.
    fn takes(&self, x: &Tensor) -> bool {
        x.device() == Device::Cpu && x.numel() != 0
    }

    /// The definition in plain tensor operations: the specification of the kernels, what runs where they do not, and the
    /// source of second derivatives.
    ///
    /// # Errors
    /// What libtorch reports.
    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>>;

    /// Writes every element of the outputs.
    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>);

    /// Writes every element of the inputs' gradients; `saved` are the inputs, then the kept outputs.
    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>);

    /// [`forward`](FusedOp::forward) on a GPU, for operators that take such tensors. Tensors after the outputs are work
    /// that the backward pass need not do again.
    ///
    /// # Errors
    /// There is no kernel, or it cannot be launched.
    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Err(no_kernel(Self::NAME, &inputs[0]))
    }

    /// [`backward`](FusedOp::backward) on a GPU; `saved` ends with what the forward pass made beside its outputs.
    ///
    /// # Errors
    /// As [`forward_on_gpu`](FusedOp::forward_on_gpu).
    fn backward_on_gpu(&self, saved: &[Tensor], _grads: &[Tensor]) -> Result<Vec<Tensor>> {
        Err(no_kernel(Self::NAME, &saved[0]))
    }
}

/// Whether `x` has elements, on a device for which there are kernels.
pub fn has_kernels(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu | Device::Cuda(_)) && x.numel() != 0
}

/// The error for a tensor that no kernel takes.
pub fn no_kernel(op: &'static str, x: &Tensor) -> Error {
    Error::argument(
        op,
        "x",
        format!(
            "must be on the CPU or a GPU, got {} on {}",
            dtype(x.kind()),
            device(x.device())
        ),
    )
}

/// The tensors of a call, to be named one by one.
///
/// # Panics
/// There are not as many, which means that a call was made with other tensors than its operator asks for.
pub fn take<const N: usize, X>(items: impl IntoIterator<Item = X>) -> [X; N] {
    let items: Vec<X> = items.into_iter().collect();
    <[X; N]>::try_from(items)
        .unwrap_or_else(|items| panic!("expected {N} tensors of a call, got {}", items.len()))
}
