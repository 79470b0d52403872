//! Filters without an inverse: the kernels report them in a word of their device, which the host reads later.
//!
//! On the CPU an operator looks at the diagonal and returns an error. On a GPU looking would mean waiting for the device at
//! every call. So a kernel that divides by a zero leaves a note, and whoever fetches numbers from the device fetches the
//! note with them ([`numbers`]), or asks for it at the end ([`check`]).

use super::current::Current;
use super::device::Device;
use super::tensors::address;
use crate::ffi::status::callback;
use crate::{Error, Result};
use std::collections::HashMap;
use std::ffi::{c_char, c_int};
use std::sync::{Mutex, OnceLock, PoisonError};
use tch::{Kind, Tensor};

/// Twin: `kZeroAt` in `kernels/inv_conv.cuh`.
const ZERO_AT: i64 = i32::MAX as i64;

/// The word of a device: 0, or [`ZERO_AT`] minus the lowest channel with a zero. It stays where it is for the life of the
/// process, so a captured graph may write to it. Kernels see an integer, and the host the float64 number with these bits:
/// so it travels in one tensor with the numbers that it belongs to.
pub(super) fn word(index: usize) -> Result<Tensor> {
    static WORDS: OnceLock<Mutex<HashMap<usize, Tensor>>> = OnceLock::new();
    let words = WORDS.get_or_init(Mutex::default).lock();
    let mut words = words.unwrap_or_else(PoisonError::into_inner);
    if let Some(word) = words.get(&index) {
        return Ok(word.shallow_clone());
    }
    let device = Device::get(index)?;
    let word = Tensor::f_empty([1], (Kind::Double, tch::Device::Cuda(index)))?;
    let current = Current::new(&device)?;
    clear(&current, &word)?;
    // once: another stream may use it next
    current.synchronize()?;
    words.insert(index, word.shallow_clone());
    Ok(word)
}

fn clear(current: &Current<'_>, word: &Tensor) -> Result<()> {
    // SAFETY: a float64 number on this device, which is never freed.
    unsafe { current.zero(address(word), Kind::Double.elt_size_in_bytes()) }
}

/// All elements of `tensors`, which are on one device, in one transfer that also asks whether a solve there had a filter
/// without an inverse.
///
/// # Errors
/// [`Error::Singular`], and the device's word is cleared; what libtorch reports.
pub(crate) fn numbers(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let Some(first) = tensors.first() else {
        return Ok(Vec::new());
    };
    let flat = |tensor: &&Tensor| -> Result<Tensor> {
        Ok(tensor
            .f_detach()?
            .f_to_kind(Kind::Double)?
            .f_reshape([-1])?)
    };
    let mut parts = tensors.iter().map(flat).collect::<Result<Vec<_>>>()?;
    let tch::Device::Cuda(index) = first.device() else {
        return Ok(Vec::try_from(&Tensor::f_cat(&parts, 0)?)?);
    };
    let word = word(index)?;
    parts.push(word.shallow_clone());
    let all = Tensor::f_cat(&parts, 0)?.f_to_device(tch::Device::Cpu)?;
    let mut all = Vec::<f64>::try_from(&all)?;
    match all.pop().map(f64::to_bits) {
        None | Some(0) => Ok(all),
        Some(bits) => {
            let device = Device::get(index)?;
            clear(&Current::new(&device)?, &word)?;
            Err(Error::zero_on_the_diagonal(ZERO_AT - bits as i64))
        }
    }
}

/// Whether every solve that was queued on torch's current stream of `device`, since the last check, had an inverse.
///
/// An operator on a GPU cannot wait to look at its weight: where [`inv_conv2d`](crate::ops::inv_conv2d) on the CPU returns
/// an error, on a GPU the result is infinite or NaN, and this is the error. Call it when you look at results, say once a
/// step: it waits for the device, and forgets what it has reported. Training, evaluation and sampling in
/// [`train`](crate::train) do so by themselves. On the CPU there is nothing to ask for.
///
/// # Errors
/// [`Error::Singular`] with the lowest channel that has a zero on the diagonal of its anchor tap.
/// [`MultiScale::locate`](crate::models::MultiScale::locate) finds the layer.
pub fn check(device: tch::Device) -> Result<()> {
    match device {
        tch::Device::Cuda(index) => numbers(&[&word(index)?]).map(drop),
        _ => Ok(()),
    }
}

/// [`check`] for the C++ side of the border: `torch.ops.inverse_flow.check`.
///
/// # Safety
/// `error` must be valid for writing one pointer.
#[no_mangle]
unsafe extern "C" fn ivf_check_cuda(index: c_int, error: *mut *mut c_char) -> c_int {
    let body = || {
        let index = usize::try_from(index);
        let index = index.map_err(|_| Error::Cuda("no CUDA device without a number".into()))?;
        check(tch::Device::Cuda(index))
    };
    // SAFETY: the caller's promise.
    unsafe { callback(error, body) }
}
