//! Status codes and messages in both directions; no unwinding crosses the border.

use crate::error::{of_torch, without_backtrace};
use crate::{Error, Result};
use std::ffi::{c_char, c_int, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Twin: `IVF_SINGULAR` in `bridge.h`.
const SINGULAR: c_int = 2;

/// Calls a function of the bridge and turns its status and message into a `Result`.
pub fn checked(call: impl FnOnce(*mut *mut c_char) -> c_int) -> Result<()> {
    let mut message: *mut c_char = std::ptr::null_mut();
    let status = call(&mut message);
    if status == 0 {
        return Ok(());
    }
    if message.is_null() {
        return Err(Error::Memory("no room for the text of an error".into()));
    }
    // SAFETY: on failure the bridge stores a NUL-terminated string from malloc that is ours to free.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        libc::free(message.cast());
        text
    };
    let problem = without_backtrace(&text).to_owned();
    Err(match status {
        SINGULAR => Error::Singular {
            place: String::new(),
            problem,
        },
        _ => of_torch(&problem),
    })
}

/// Runs a callback that C++ has called: an error or a panic becomes a status with a message.
///
/// # Safety
/// `error` must be valid for writing one pointer.
pub unsafe fn callback(error: *mut *mut c_char, body: impl FnOnce() -> Result<()>) -> c_int {
    // AssertUnwindSafe: after a panic nothing of the body is looked at again, C++ throws.
    let (status, text) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        // the outermost `libtorch: ` is added once, when the message arrives in Rust again
        Ok(Err(Error::Torch(text))) => (1, text),
        Ok(Err(err @ Error::Singular { .. })) => (SINGULAR, err.to_string()),
        Ok(Err(err)) => (1, err.to_string()),
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            (1, format!("panic in a Rust callback: {text}"))
        }
    };
    let text = text.replace('\0', " ");
    // SAFETY: strndup copies `text.len()` bytes of a live string; the caller promises that `error` can be written.
    unsafe { *error = libc::strndup(text.as_ptr().cast(), text.len()) };
    status
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
