//! Copies to a GPU for which the host does not wait.

use super::status::checked;
use super::sys::{self, Handle};
use crate::{Error, Result};
use std::ffi::{c_char, c_int};
use tch::Tensor;

/// A copy of the CPU tensor `tensor` in pinned memory, from which a GPU reads by itself; the tensor itself, if it is there.
///
/// # Errors
/// Not enough memory, or no GPU.
pub fn pinned(tensor: &Tensor) -> Result<Tensor> {
    // SAFETY: a handle of a borrowed tensor; `out` receives a new handle.
    made(|out, error| unsafe { sys::ivf_pinned(tensor.as_ptr().cast_mut(), out, error) })
}

/// A copy of the CPU tensor `tensor` on GPU `index`, by way of pinned memory, which torch keeps until the copy is done.
///
/// # Errors
/// Not enough memory on either side, or no such GPU.
pub fn upload(tensor: &Tensor, index: usize) -> Result<Tensor> {
    let index = i32::try_from(index).map_err(|_| Error::Cuda(format!("no CUDA device {index}")))?;
    // SAFETY: a handle of a borrowed tensor; `out` receives a new handle.
    made(|out, error| unsafe { sys::ivf_upload(tensor.as_ptr().cast_mut(), index, out, error) })
}

/// The tensor that a call makes.
fn made(call: impl FnOnce(*mut Handle, *mut *mut c_char) -> c_int) -> Result<Tensor> {
    let mut out: Handle = std::ptr::null_mut();
    checked(|error| call(&mut out, error))?;
    // SAFETY: success means that `out` is a new handle of ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}
