//! The backward pass of torch's convolution, which tch does not expose.

use super::status::checked;
use super::sys::{self, Handle};
use crate::Result;
use tch::Tensor;

/// Gradients of `x` and `weight` from that of their convolution with stride 1 and zero padding on all sides; `None` for one
/// that is not needed.
///
/// # Errors
/// What libtorch reports.
pub(crate) fn conv2d_backward(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    padding: i64,
    needs: [bool; 2],
) -> Result<[Option<Tensor>; 2]> {
    let handle = |t: &Tensor| t.as_ptr().cast_mut();
    let mut made: [Handle; 2] = [std::ptr::null_mut(); 2];
    checked(|error| {
        // SAFETY: handles of borrowed tensors; `made` has room for the two handles that are stored, each new or NULL.
        unsafe {
            sys::ivf_conv2d_backward(
                handle(grad),
                handle(x),
                handle(weight),
                padding,
                needs.map(u8::from).as_ptr(),
                made.as_mut_ptr(),
                error,
            )
        }
    })?;
    // SAFETY: success means that what is not NULL is a new handle of ours.
    Ok(made.map(|handle| (!handle.is_null()).then(|| unsafe { Tensor::from_ptr(handle) })))
}
