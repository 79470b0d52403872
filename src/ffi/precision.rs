//! libtorch's settings of how float32 numbers are multiplied on GPUs.

use super::{status, sys};
use crate::Result;

/// Lets the libraries of libtorch's CUDA half shorten float32 numbers to TF32, or not.
pub(crate) fn set_tf32(allowed: bool) -> Result<()> {
    status::checked(|error| {
        // SAFETY: the out-pointer lives for the call.
        unsafe { sys::ivf_set_tf32(allowed.into(), error) }
    })
}

/// The same for convolutions and recurrent layers alone.
pub(crate) fn set_tf32_convolutions(allowed: bool) -> Result<()> {
    status::checked(|error| {
        // SAFETY: the out-pointer lives for the call.
        unsafe { sys::ivf_set_tf32_convolutions(allowed.into(), error) }
    })
}

/// Whether they may: in convolutions, in matrix products.
pub(crate) fn tf32() -> Result<[bool; 2]> {
    let (mut convolutions, mut products) = (0, 0);
    status::checked(|error| {
        // SAFETY: all out-pointers live for the call; the callee stores into them and keeps none.
        unsafe { sys::ivf_tf32(&mut convolutions, &mut products, error) }
    })?;
    Ok([convolutions != 0, products != 0])
}
