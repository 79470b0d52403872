//! The operators in torch's dispatcher: calls into it, and the kernels that it calls back.
//!
//! Everything goes through the dispatcher, also from Rust: so autograd, autocast, `torch.compile`'s fake tensors and
//! profilers see one operator, whoever calls it. A call crosses the border once each way: into the dispatcher
//! ([`call`]), which records it in C++, and out of it to the kernel ([`operator_entry`]).

use super::status::{callback, checked};
use super::sys;
use crate::problem::{Corner, Op};
use crate::{Error, Result};
use std::ffi::{c_char, c_int};
use tch::Tensor;

pub(crate) use super::sys::Handle;

/// Calls `op`, an operator of two tensors, through torch's dispatcher.
pub(crate) fn call(op: Op, a: &Tensor, b: &Tensor, corners: &[Corner]) -> Result<Tensor> {
    let handle = |t: &Tensor| t.as_ptr().cast_mut();
    let mut out: Handle = std::ptr::null_mut();
    checked(|error| {
        // SAFETY: handles of borrowed tensors; a `Corner` is `#[repr(u8)]`, and its number below 4; `out` receives a new
        // handle.
        unsafe {
            sys::ivf_call_op(
                op as c_int,
                handle(a),
                handle(b),
                corners.as_ptr().cast::<u8>(),
                corners.len(),
                &mut out,
                error,
            )
        }
    })?;
    // SAFETY: success means that `out` is a new handle of ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// What torch's dispatcher asks a kernel for.
pub(crate) struct KernelCall<'a> {
    /// The operator.
    pub op: Op,
    /// The images.
    pub a: &'a Tensor,
    /// The weight; for the weight gradient the gradient `u`.
    pub b: &'a Tensor,
    /// For the weight gradient the tensor whose shape it takes.
    pub shape: Option<&'a Tensor>,
    /// One for each group.
    pub corners: &'a [Corner],
}

/// Answers a call of the dispatcher with `compute`; the body of what [`operator_entry`] defines.
///
/// # Safety
/// `a` and `b` are handles of live tensors, `c` is one or NULL, `corners` points to `n_corners` numbers below 4, `out` and
/// `error` are valid for writing one pointer each.
pub(crate) unsafe fn answer(
    op: c_int,
    [a, b, c]: [Handle; 3],
    corners: *const u8,
    n_corners: usize,
    out: *mut Handle,
    error: *mut *mut c_char,
    compute: fn(&KernelCall<'_>) -> Result<Tensor>,
) -> c_int {
    // SAFETY: the caller's promise; `clone_from_ptr` makes a second handle and leaves the borrowed one alone.
    let tensor = |handle: Handle| unsafe { Tensor::clone_from_ptr(handle) };
    let body = || {
        let known = Op::ALL.into_iter().find(|known| *known as c_int == op);
        let op = known.ok_or_else(|| Error::Torch(format!("unknown operator number {op}")))?;
        let (a, b, shape) = (tensor(a), tensor(b), (!c.is_null()).then(|| tensor(c)));
        let corners: &[Corner] = match n_corners {
            0 => &[], // an empty list may have a null pointer
            // SAFETY: the caller's promise: numbers below 4 are corners, which are `#[repr(u8)]`.
            _ => unsafe { std::slice::from_raw_parts(corners.cast::<Corner>(), n_corners) },
        };
        let result = compute(&KernelCall {
            op,
            a: &a,
            b: &b,
            shape: shape.as_ref(),
            corners,
        })?;
        // SAFETY: `at_shallow_clone` makes a new handle, which the dispatcher owns from now on; `out` can be written.
        unsafe { *out = torch_sys::at_shallow_clone(result.as_ptr().cast_mut()) };
        Ok(())
    };
    // SAFETY: the caller's promise for `error`.
    unsafe { callback(error, body) }
}

/// Makes a function the kernel that torch's dispatcher calls: `operator_entry!(compute)` with a
/// `fn(&KernelCall) -> Result<Tensor>` defines `ivf_op_compute` of `bridge.h`.
///
/// The C++ side needs a symbol at link time, because Python loads the library without running a line of Rust that could
/// register anything; and the kernels stand above the border. So the border defines the symbol here, as a macro, and they
/// expand it once. All the unsafe code is this text: what the user of the macro adds is a safe function, called with
/// tensors and corners that [`answer`] has made, and a second expansion is refused as a second definition of the symbol.
/// That is why the lint may be silenced for the expansion and for nothing around it.
macro_rules! operator_entry {
    ($compute:path) => {
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::ffi::operator::{answer, Handle};

            /// # Safety
            /// As in `bridge.h`: handles of live tensors, `n_corners` numbers below 4, `out` and `error` valid for writing.
            #[no_mangle]
            #[allow(clippy::too_many_arguments)] // the C signature
            unsafe extern "C" fn ivf_op_compute(
                op: std::ffi::c_int,
                a: Handle,
                b: Handle,
                c: Handle,
                corners: *const u8,
                n_corners: usize,
                out: *mut Handle,
                error: *mut *mut std::ffi::c_char,
            ) -> std::ffi::c_int {
                // SAFETY: the caller's promise, passed on.
                unsafe { answer(op, [a, b, c], corners, n_corners, out, error, $compute) }
            }
        };
    };
}
pub(crate) use operator_entry;
