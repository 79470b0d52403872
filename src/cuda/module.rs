//! Kernels, loaded once per device, and launches on torch's current stream.

use super::images::{ARCHS, IMAGES};
use super::launch::Launch;
use super::libtorch::availability;
use crate::{Error, Result};
use cudarc::driver::result::{ctx, function, launch_kernel, memset_d8_async, module};
use cudarc::driver::sys::{
    CUdevice_attribute, CUfunction, CUfunction_attribute, CUresult, CUstream,
};
use cudarc::driver::{CudaContext, DriverError};
use std::collections::HashMap;
use std::ffi::{c_void, CString};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

/// Dynamic shared memory that a kernel may use without asking.
const DEFAULT_SHARED: u32 = 48 * 1024;

/// A kernel's handle; it lives as long as its module, which is never unloaded.
#[derive(Clone, Copy)]
struct KernelHandle(CUfunction);

// SAFETY: a CUfunction is an opaque handle of the driver, which may be used from any thread.
unsafe impl Send for KernelHandle {}
// SAFETY: as above.
unsafe impl Sync for KernelHandle {}

/// A GPU: torch's primary context on it, and the kernels that were loaded into that context.
pub struct Device {
    context: Arc<CudaContext>,
    shared_limit: usize,
    functions: RwLock<HashMap<&'static str, KernelHandle>>,
}

impl Device {
    /// The device with this index. Devices stay for the life of the process.
    ///
    /// # Errors
    /// CUDA is not available, or there is no such device.
    pub fn get(index: usize) -> Result<Arc<Self>> {
        static DEVICES: OnceLock<Mutex<HashMap<usize, Arc<Device>>>> = OnceLock::new();
        let mut devices = DEVICES
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        if let Some(device) = devices.get(&index) {
            return Ok(device.clone());
        }
        availability()?;
        // the primary context is the one that libtorch uses, so its tensors and streams are valid in it
        let context =
            CudaContext::new(index).map_err(|err| driver_error("opening the device", err))?;
        let shared_limit = context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
            .map_err(|err| driver_error("asking for the shared memory of a block", err))?;
        let device = Arc::new(Self {
            context,
            shared_limit: shared_limit as usize,
            functions: RwLock::default(),
        });
        devices.insert(index, device.clone());
        Ok(device)
    }

    /// Bytes of dynamic shared memory that a block may have at most.
    pub fn shared_limit(&self) -> usize {
        self.shared_limit
    }

    /// Queues one kernel on torch's current stream of this device, without waiting for it.
    ///
    /// # Errors
    /// The kernel cannot be loaded, or the driver refuses the launch.
    ///
    /// # Safety
    /// `P` must be the parameter struct of the kernel, with device pointers that are valid on this device until the
    /// kernel has run: memory of torch tensors that were allocated for the current stream, of the sizes in the struct.
    pub unsafe fn launch<P>(&self, launch: &Launch, params: &P) -> Result<()> {
        if launch.is_empty() {
            return Ok(());
        }
        // backward runs on threads of torch's that may not have the context yet
        self.context
            .bind_to_thread()
            .map_err(|err| driver_error("binding the context", err))?;
        let function = self.function(launch)?;
        let stream = crate::ffi::current_cuda_stream(self.context.ordinal())?;
        let [grid, block] = [launch.grid, launch.block].map(|[x, y, z]| (x, y, z));
        let mut arguments = [(&raw const *params).cast_mut().cast::<c_void>()];
        // SAFETY: a live function of this context, torch's own stream, and one by-value parameter which the driver copies
        // during the call; the caller vouches for the pointers inside it.
        unsafe {
            launch_kernel(
                function.0,
                grid,
                block,
                launch.shared_bytes,
                stream.cast(),
                &mut arguments,
            )
        }
        .map_err(|err| driver_error(launch.kernel, err))
    }

    /// Queues zeros into `bytes` bytes at a device address on torch's current stream of this device: a memset, no kernel.
    ///
    /// # Errors
    /// The driver refuses it.
    ///
    /// # Safety
    /// As for [`Device::launch`]: memory of this device, at least `bytes` long, that outlives the memset.
    pub unsafe fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.context
            .bind_to_thread()
            .map_err(|err| driver_error("binding the context", err))?;
        let stream = crate::ffi::current_cuda_stream(self.context.ordinal())?;
        // SAFETY: the caller vouches for the memory; the stream is torch's own.
        unsafe { memset_d8_async(address, 0, bytes, stream.cast()) }
            .map_err(|err| driver_error("clearing a workspace", err))
    }

    /// Its index.
    pub fn index(&self) -> usize {
        self.context.ordinal()
    }

    /// torch's current stream of this device, whose context is bound to this thread.
    ///
    /// # Errors
    /// What the driver or libtorch reports.
    pub fn stream(&self) -> Result<CUstream> {
        self.context
            .bind_to_thread()
            .map_err(|err| driver_error("binding the context", err))?;
        Ok(crate::ffi::current_cuda_stream(self.context.ordinal())?.cast())
    }

    /// Waits until everything that was queued on this device has run.
    ///
    /// # Errors
    /// What went wrong in the meantime.
    pub fn synchronize(&self) -> Result<()> {
        self.context
            .bind_to_thread()
            .map_err(|err| driver_error("binding the context", err))?;
        ctx::synchronize().map_err(|err| driver_error("waiting for the device", err))
    }

    fn function(&self, launch: &Launch) -> Result<KernelHandle> {
        let name = launch.kernel;
        let cached = self
            .functions
            .read()
            .unwrap_or_else(|poison| poison.into_inner())
            .get(name)
            .copied();
        let function = match cached {
            Some(function) => function,
            None => self.load(launch.image, name)?,
        };
        Ok(function)
    }

    /// Loads the image that has kernel `name`, and lets the kernel use all the shared memory of the device.
    fn load(&self, image: &'static str, name: &'static str) -> Result<KernelHandle> {
        let mut functions = self
            .functions
            .write()
            .unwrap_or_else(|poison| poison.into_inner());
        if let Some(&function) = functions.get(name) {
            return Ok(function);
        }
        let (_, bytes) = IMAGES
            .iter()
            .find(|(have, _)| *have == image)
            .ok_or_else(|| Error::Cuda(format!("this build has no kernel image `{image}`")))?;
        let symbol = CString::new(name).map_err(|err| Error::Cuda(err.to_string()))?;
        // SAFETY: a whole fatbin made by nvcc, whose size is in its header; the driver copies what it keeps. The module is
        // never unloaded, so the function stays valid.
        let function = unsafe {
            module::load_data(bytes.as_ptr().cast()).and_then(|m| module::get_function(m, symbol))
        }
        .map_err(|err| driver_error(name, err))?;
        if self.shared_limit > DEFAULT_SHARED as usize {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a live function, and a limit that the device itself has named.
            unsafe {
                function::set_function_attribute(function, attribute, self.shared_limit as i32)
            }
            .map_err(|err| driver_error(name, err))?;
        }
        functions.insert(name, KernelHandle(function));
        Ok(KernelHandle(function))
    }
}

pub(super) fn driver_error(what: &str, err: DriverError) -> Error {
    let way_out = match err.0 {
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            format!(
                "; the kernels were built for compute capability {ARCHS}: build again with INVERSE_FLOW_CUDA_ARCHS set to \
                 that of your GPU, or update the driver"
            )
        }
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => "; use a smaller batch".into(),
        _ => String::new(),
    };
    Error::Cuda(format!("{what}: {:?}{way_out}", err.0))
}
