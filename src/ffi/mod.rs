//! The C++ border: custom autograd functions in Rust, the operators in torch's dispatcher, and the few things of
//! libtorch that tch does not offer. Users find what is theirs of it in [`crate::autograd`], [`crate::ops`] and at the
//! root of the crate; nothing here is public, because what is here trusts its callers:
//!
//! ```compile_fail
//! // memory of a tensor as a slice, whoever else may write to it
//! use inverse_flow::ffi::memory::slice;
//! ```
//!
//! | module | what crosses |
//! |---|---|
//! | [`autograd`] | [`autograd::CustomFn`]: a differentiable function whose forward and backward are Rust |
//! | [`convolution`] | the backward pass of torch's convolution |
//! | [`operator`] | calls into torch's dispatcher, and the kernels that it calls back |
//! | [`memory`] | CPU tensors as slices |
//! | [`threads`] | work split over libtorch's threads |
//! | [`mod@allocator`] | the allocator's thresholds |
//! | [`group`] | several processes that compute together: torch's c10d |
//! | [`nccl`] | the part of it that needs libtorch's CUDA half |
//! | `exit` (feature `program`) | the end of the process, at once |
//! | `peak` (feature `program`) | the largest amount of memory in use |
//! | `last_words` (feature `program`) | the end of a process that finds no more memory |
//! | [`limits`] | what the system allows: stack and threads |
//! | `spin` (feature `program`) | how long threads that wait for work keep their processor |
//! | [`precision`] | libtorch's settings of float32 products on GPUs |
//! | [`optim`] | torch's fused Adam and global gradient norm |
//! | [`upload`] | copies to a GPU for which the host does not wait |
//! | [`torchscript`] | TorchScript programs: source text and tensors to the bytes of an archive |
//!
//! `unsafe` code lives here and in [`crate::cuda`] only. The C surface is documented in `bridge.h`.
#![allow(unsafe_code)]

mod allocator;
pub mod autograd;
pub mod convolution;
#[cfg(feature = "program")]
pub mod exit;
pub(crate) mod group;
#[cfg(feature = "program")]
pub mod last_words;
pub mod limits;
pub mod memory;
pub(crate) mod nccl;
pub mod operator;
pub mod optim;
#[cfg(feature = "program")]
pub mod peak;
pub mod precision;
#[cfg(feature = "program")]
pub mod spin;
pub(crate) mod status;
mod sys;
pub mod threads;
pub mod torchscript;
pub mod upload;

pub use allocator::keep_freed_memory;

/// Whether operations on this thread are being recorded for autograd: in an [`autograd::CustomFn::backward`], whether the
/// backward pass may be differentiated again.
pub(crate) fn grad_enabled() -> bool {
    // SAFETY: reads a flag of the calling thread.
    unsafe { sys::ivf_grad_enabled() != 0 }
}

/// The text by which the Python package knows which torch the shared library is for, without loading it. Exported, so
/// that the linker keeps it in the file.
#[no_mangle]
pub extern "C" fn ivf_built_for_mark() -> *const std::ffi::c_char {
    // SAFETY: takes nothing and returns a constant.
    unsafe { sys::ivf_built_for() }
}

/// torch's current stream (a `cudaStream_t`) on CUDA device `index` for this thread.
///
/// # Errors
/// libtorch's CUDA half is not loaded, or there is no such device.
pub(crate) fn current_cuda_stream(index: usize) -> crate::Result<*mut std::ffi::c_void> {
    let index =
        i32::try_from(index).map_err(|_| crate::Error::Cuda(format!("no CUDA device {index}")))?;
    let mut stream = std::ptr::null_mut();
    status::checked(|error| {
        // SAFETY: both out-pointers live for the call; the callee stores into them and keeps neither.
        unsafe { sys::ivf_current_cuda_stream(index, &mut stream, error) }
    })?;
    Ok(stream)
}
