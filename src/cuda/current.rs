//! The GPU that a thread works on, for as long as a piece of code needs it.
//!
//! The driver keeps one current context for each thread, and torch's current device is that context's. So whoever queues
//! something on `cuda:1` has to leave the thread as it was, or everything the thread makes afterwards lands there. What
//! queues or waits therefore exists on [`Current`] only, which cannot be had without putting back what was before.

use super::context::Restore;
use super::device::Device;
use super::driver_error::driver_error;
use super::launch::Launch;
use crate::Result;
use cudarc::driver::result::{ctx, launch_kernel, memset_d8_async};
use cudarc::driver::sys::CUstream;
use std::ffi::c_void;

/// A GPU that is this thread's current device while this lives, and torch's current stream on it.
pub(super) struct Current<'a> {
    device: &'a Device,
    stream: CUstream,
    _restore: Restore,
}

impl<'a> Current<'a> {
    /// Makes `device` the current one.
    pub(super) fn new(device: &'a Device) -> Result<Self> {
        let failed = |err| driver_error("choosing the device", device.index(), err);
        let restore = Restore::later().map_err(failed)?;
        // backward runs on threads of torch's that may not have the context yet
        if restore.before() != device.context() {
            // SAFETY: the device's primary context, which it holds on to.
            unsafe { ctx::set_current(device.context()) }.map_err(failed)?;
        }
        let stream = crate::ffi::current_cuda_stream(device.index())?.cast();
        Ok(Self {
            device,
            stream,
            _restore: restore,
        })
    }

    /// torch's current stream on the device, when it became current.
    pub(super) fn stream(&self) -> CUstream {
        self.stream
    }

    /// Queues one kernel on torch's current stream, without waiting for it.
    ///
    /// # Errors
    /// There is no such kernel, or the driver refuses the launch.
    ///
    /// # Safety
    /// `P` must be the parameter struct of the kernel, with device pointers that are valid on this device until the
    /// kernel has run: memory of torch tensors that were allocated for the current stream, of the sizes in the struct.
    pub(super) unsafe fn launch<P>(&self, launch: &Launch, params: &P) -> Result<()> {
        if launch.is_empty() {
            return Ok(());
        }
        let kernel = self.device.kernels().get(launch)?;
        let [grid, block] = [launch.grid, launch.block].map(|[x, y, z]| (x, y, z));
        let mut arguments = [(&raw const *params).cast_mut().cast::<c_void>()];
        // SAFETY: a live function of this context, torch's own stream, and one by-value parameter which the driver copies
        // during the call; the caller vouches for the pointers inside it.
        unsafe {
            launch_kernel(
                kernel,
                grid,
                block,
                launch.shared_bytes,
                self.stream,
                &mut arguments,
            )
        }
        .map_err(|err| {
            let what = format!("kernels/{}.cu, kernel {}", launch.image, launch.kernel);
            driver_error(&what, self.device.index(), err)
        })
    }

    /// Queues zeros into `bytes` bytes at a device address on torch's current stream: a memset, no kernel.
    ///
    /// # Errors
    /// The driver refuses it.
    ///
    /// # Safety
    /// As for [`Current::launch`]: memory of this device, at least `bytes` long, that outlives the memset.
    pub(super) unsafe fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller vouches for the memory; the stream is torch's own.
        unsafe { memset_d8_async(address, 0, bytes, self.stream) }
            .map_err(|err| driver_error("clearing a workspace", self.device.index(), err))
    }

    /// Waits until everything that was queued on this device has run.
    ///
    /// # Errors
    /// What went wrong in the meantime.
    pub(super) fn synchronize(&self) -> Result<()> {
        ctx::synchronize()
            .map_err(|err| driver_error("waiting for the device", self.device.index(), err))
    }
}

/// Queues kernels that share their parameters, one after the other, on torch's current stream of GPU `index`.
///
/// # Errors
/// As [`Current::launch`].
///
/// # Safety
/// As for [`Current::launch`], of every kernel.
pub(super) unsafe fn launch_all<P>(index: usize, launches: &[Launch], params: &P) -> Result<()> {
    let device = Device::get(index)?;
    let current = Current::new(&device)?;
    for launch in launches {
        // SAFETY: the caller vouches for it.
        unsafe { current.launch(launch, params)? };
    }
    Ok(())
}
