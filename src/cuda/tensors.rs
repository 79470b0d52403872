//! Tensors whose addresses go to kernels.

use crate::words::{self, dtype};
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

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

/// Memory that kernels hand numbers on in, on GPU `index`; none where the plan needs none. It may be dropped once the
/// kernels are queued: torch's allocator hands it on in the order of the stream.
///
/// # Errors
/// There is not enough memory.
pub fn workspace(elements: usize, kind: Kind, index: usize) -> Result<Option<Tensor>> {
    let make = || Tensor::f_empty([elements as i64], (kind, Device::Cuda(index)));
    Ok((elements > 0).then(make).transpose()?)
}
