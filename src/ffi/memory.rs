//! CPU tensors as slices: those that a kernel reads, and those that it makes.

use crate::words::{device, dtype};
use crate::{Error, Result};
use std::marker::PhantomData;
use tch::{Device, Tensor};

/// Float types that the kernels compute in.
pub trait Float: tch::kind::Element + Copy + Send + Sync + 'static {}
impl Float for f32 {}
impl Float for f64 {}

/// Checks that `tensor` is plain memory of `T`: defined, on the CPU, contiguous.
fn check_plain<T: Float>(tensor: &Tensor) -> Result<usize> {
    if tensor.device() != Device::Cpu || tensor.kind() != T::KIND || !tensor.is_contiguous() {
        return Err(Error::Torch(format!(
            "expected a contiguous CPU tensor of {}, got {} on {} with strides {:?}",
            dtype(T::KIND),
            dtype(tensor.kind()),
            device(tensor.device()),
            tensor.stride()
        )));
    }
    Ok(tensor.numel())
}

/// The elements of a contiguous CPU tensor.
///
/// # Errors
/// The tensor is on another device, of another kind, or not contiguous.
pub fn slice<T: Float>(tensor: &Tensor) -> Result<&[T]> {
    let len = check_plain::<T>(tensor)?;
    if len == 0 {
        return Ok(&[]); // an empty tensor may have a null pointer
    }
    // SAFETY: checked above: `len` elements of `T` lie at `data_ptr`, which the borrowed tensor keeps alive. Like every
    // reader of a tensor this relies on nobody writing to its storage meanwhile; kernels read only during their call.
    Ok(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<T>(), len) })
}

/// A new contiguous CPU tensor of `T`. Nobody else has it until it is given up with [`Fresh::into_tensor`], so its
/// elements may be written through a reference: what shares its storage with another tensor can never get here.
pub struct Fresh<T> {
    tensor: Tensor,
    elements: PhantomData<T>,
}

impl<T: Float> Fresh<T> {
    /// A tensor of this size, with whatever its memory holds.
    ///
    /// # Errors
    /// What libtorch reports: no memory.
    pub fn empty(size: &[i64]) -> Result<Self> {
        Ok(Self {
            tensor: Tensor::f_empty(size, (T::KIND, Device::Cpu))?,
            elements: PhantomData,
        })
    }

    /// The elements.
    pub fn elements(&mut self) -> &mut [T] {
        let len = self.tensor.numel();
        if len == 0 {
            return &mut []; // an empty tensor may have a null pointer
        }
        // SAFETY: `empty` made a contiguous CPU tensor of `len` elements of `T`, whose storage nobody else has and which
        // lives as long as the borrow of `self`. Its memory is libtorch's, of which the compiler knows nothing, so that
        // every bit pattern in it is some number.
        unsafe { std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast::<T>(), len) }
    }

    /// The tensor, written.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn what_was_written_is_what_the_tensor_holds() {
        let mut fresh = Fresh::<f32>::empty(&[2, 3]).unwrap();
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        fresh.elements().copy_from_slice(&numbers);
        let tensor = fresh.into_tensor();
        assert_eq!(tensor.size(), [2, 3]);
        assert_eq!(slice::<f32>(&tensor).unwrap(), numbers);
        assert!(Fresh::<f64>::empty(&[0, 3]).unwrap().elements().is_empty());
    }

    #[test]
    fn only_plain_memory_of_the_type_is_a_slice() {
        let tensor = Tensor::zeros([3, 4], (Kind::Float, Device::Cpu));
        assert_eq!(slice::<f32>(&tensor).unwrap().len(), 12);
        assert!(slice::<f64>(&tensor).is_err());
        let err = slice::<f32>(&tensor.tr()).unwrap_err().to_string();
        assert!(err.contains("strides [1, 4]"), "{err}");
    }
}
