//! The operators in torch's dispatcher: calls into it, and the two entry points that it calls back.
//!
//! Everything goes through the dispatcher, also from Rust: so autograd, autocast, `torch.compile`'s fake tensors and
//! profilers see one operator, whoever calls it.

use super::status::{callback, checked};
use super::sys::{self, Handle};
use crate::ops::{dispatch, Corner};
use crate::Result;
use std::ffi::{c_char, c_int};
use tch::Tensor;

/// The operators, numbered as in `bridge.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Op {
    /// `inv_conv2d`: `x = A⁻¹ y`.
    Solve = 0,
    /// `_inv_conv2d_adjoint`: `x = A⁻ᵀ y`.
    SolveAdjoint = 1,
    /// `masked_conv2d`: `y = A x`.
    Conv = 2,
    /// `_masked_conv2d_adjoint`: `y = Aᵀ x`.
    ConvAdjoint = 3,
    /// `_conv2d_weight_grad`: the masked correlation of input and gradient.
    WeightGrad = 4,
}

impl Op {
    fn from_code(code: c_int) -> Result<Self> {
        [
            Self::Solve,
            Self::SolveAdjoint,
            Self::Conv,
            Self::ConvAdjoint,
            Self::WeightGrad,
        ]
        .into_iter()
        .find(|op| *op as c_int == code)
        .ok_or_else(|| crate::Error::Torch(format!("unknown operator number {code}")))
    }
}

/// Which dispatch keys a call goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All: autograd records the call.
    Autograd,
    /// Below autograd: the forward of a custom function, where recording has happened already.
    Kernel,
}

/// Calls `op` through torch's dispatcher; `shape` is the tensor whose shape a weight gradient takes.
pub(crate) fn call(
    op: Op,
    level: Level,
    a: &Tensor,
    b: &Tensor,
    shape: Option<&Tensor>,
    corners: &[Corner],
) -> Result<Tensor> {
    let codes: Vec<u8> = corners.iter().map(|&corner| corner as u8).collect();
    let handle = |t: &Tensor| t.as_ptr().cast_mut();
    let mut out: Handle = std::ptr::null_mut();
    checked(|error| {
        // SAFETY: handles of borrowed tensors; `codes` are corner numbers below 4; `out` receives a new handle.
        unsafe {
            sys::ivf_call_op(
                op as c_int,
                handle(a),
                handle(b),
                shape.map_or(std::ptr::null_mut(), handle),
                codes.as_ptr(),
                codes.len(),
                (level == Level::Kernel).into(),
                &mut out,
                error,
            )
        }
    })?;
    // SAFETY: success means that `out` is a new handle of ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// What C++ passes for one operator call.
struct Call {
    op: Op,
    a: Tensor,
    b: Tensor,
    shape: Option<Tensor>,
    corners: Vec<Corner>,
}

/// # Safety
/// `a` and `b` are handles of live tensors, `c` is one or NULL, `corners` points to `n` numbers below 4.
unsafe fn read_call(
    op: c_int,
    a: Handle,
    b: Handle,
    c: Handle,
    corners: *const u8,
    n: usize,
) -> Result<Call> {
    // SAFETY: the caller's promise; `clone_from_ptr` makes a second handle and leaves the borrowed one alone.
    let tensor = |handle: Handle| unsafe { Tensor::clone_from_ptr(handle) };
    // SAFETY: the caller's promise; an empty list may have a null pointer and is not read.
    let corners = (0..n)
        .map(|i| Corner::ALL[usize::from(unsafe { *corners.add(i) })])
        .collect();
    Ok(Call {
        op: Op::from_code(op)?,
        a: tensor(a),
        b: tensor(b),
        shape: (!c.is_null()).then(|| tensor(c)),
        corners,
    })
}

/// # Safety
/// `out` must be valid for writing one handle.
unsafe fn give(out: *mut Handle, tensor: &Tensor) {
    // SAFETY: `at_shallow_clone` makes a new handle, which the caller of the entry point owns from now on.
    unsafe { *out = torch_sys::at_shallow_clone(tensor.as_ptr().cast_mut()) };
}

/// The CPU and CUDA kernels: torch's dispatcher calls this below autograd.
///
/// # Safety
/// As in `bridge.h`: handles of live tensors, `n_corners` corner numbers, `out` and `error` valid for writing.
#[no_mangle]
pub unsafe extern "C" fn ivf_op_compute(
    op: c_int,
    a: Handle,
    b: Handle,
    c: Handle,
    corners: *const u8,
    n_corners: usize,
    out: *mut Handle,
    error: *mut *mut c_char,
) -> c_int {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        callback(error, || {
            let call = read_call(op, a, b, c, corners, n_corners)?;
            give(
                out,
                &dispatch::compute(
                    call.op,
                    &call.a,
                    &call.b,
                    call.shape.as_ref(),
                    &call.corners,
                )?,
            );
            Ok(())
        })
    }
}

/// Recording: torch's dispatcher calls this at the Autograd key.
///
/// # Safety
/// As [`ivf_op_compute`].
#[no_mangle]
pub unsafe extern "C" fn ivf_op_record(
    op: c_int,
    a: Handle,
    b: Handle,
    c: Handle,
    corners: *const u8,
    n_corners: usize,
    out: *mut Handle,
    error: *mut *mut c_char,
) -> c_int {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        callback(error, || {
            let call = read_call(op, a, b, c, corners, n_corners)?;
            give(
                out,
                &dispatch::record(call.op, &call.a, &call.b, call.shape.as_ref(), call.corners)?,
            );
            Ok(())
        })
    }
}
