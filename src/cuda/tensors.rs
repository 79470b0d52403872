//! Tensors whose addresses go to kernels.

use crate::words::{self, dtype};
use crate::{Error, Result};
use tch::{Device, Tensor};

/// Checks that tensors have the sizes that a plan was made for, are contiguous, and are of one dtype on one GPU; returns
/// its index. A kernel reads and writes by the sizes in its parameters, whatever the tensors are.
///
/// # Errors
/// [`Error::Cuda`] with what was expected and what was got.
pub fn expect(tensors: &[(&Tensor, &[i64])]) -> Result<usize> {
    let Some((first, _)) = tensors.first() else {
        return Err(Error::Cuda("a kernel without tensors".into()));
    };
    let Device::Cuda(index) = first.device() else {
        return Err(Error::Cuda("expected tensors on a GPU".into()));
    };
    for (tensor, size) in tensors {
        let (kind, device) = (tensor.kind(), tensor.device());
        let alike = kind == first.kind() && device == first.device();
        if !alike || tensor.size() != *size || !tensor.is_contiguous() {
            return Err(Error::Cuda(format!(
                "expected a contiguous tensor {size:?} {} on {}, got {:?} {} on {} with strides {:?}",
                dtype(first.kind()),
                words::device(first.device()),
                tensor.size(),
                dtype(kind),
                words::device(device),
                tensor.stride()
            )));
        }
    }
    Ok(index)
}

/// A tensor's device address.
pub fn address(tensor: &Tensor) -> u64 {
    tensor.data_ptr() as u64
}
