//! A thread's current context, put back.

use cudarc::driver::result::ctx;
use cudarc::driver::sys::{cuCtxSetCurrent, CUcontext};
use cudarc::driver::DriverError;
use std::marker::PhantomData;

/// Gives the thread back the context, and with it the device, that it had when this was made.
pub(super) struct Restore {
    /// Null for a thread that had none yet.
    before: CUcontext,
    /// A context is current for one thread.
    one_thread: PhantomData<*const ()>,
}

impl Restore {
    /// Notes the context of this thread; the driver has been started.
    pub(super) fn later() -> Result<Self, DriverError> {
        let before = ctx::get_current()?.unwrap_or(std::ptr::null_mut());
        Ok(Self {
            before,
            one_thread: PhantomData,
        })
    }

    /// The context that will be given back, or null.
    pub(super) fn before(&self) -> CUcontext {
        self.before
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: null, or a context that was current on this thread: torch's primary contexts live as long as the process,
        // and whoever destroys one of its own while this crate works on the same thread gets an error, no more. There is
        // nothing to do about an error here; the thread's next call of the driver reports it.
        let _ = unsafe { cuCtxSetCurrent(self.before) };
    }
}
