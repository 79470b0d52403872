//! The GPUs of this process, each opened when it is first used.

use super::context::Restore;
use super::driver_error::driver_error;
use super::libtorch::availability;
use super::module::Kernels;
use crate::Result;
use cudarc::driver::sys::{CUcontext, CUdevice_attribute};
use cudarc::driver::CudaContext;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// A GPU: torch's primary context on it, and the kernels, loaded into that context.
pub(super) struct Device {
    context: Arc<CudaContext>,
    shared_limit: usize,
    kernels: Kernels,
}

impl Device {
    /// The device with this index. Devices stay for the life of the process.
    ///
    /// # Errors
    /// CUDA is not available, there is no such device, or its kernels cannot be loaded.
    pub(super) fn get(index: usize) -> Result<Arc<Self>> {
        static DEVICES: OnceLock<Mutex<HashMap<usize, Arc<Device>>>> = OnceLock::new();
        let mut devices = DEVICES
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        if let Some(device) = devices.get(&index) {
            return Ok(device.clone());
        }
        availability()?;
        let device = Arc::new(Self::open(index)?);
        devices.insert(index, device.clone());
        Ok(device)
    }

    fn open(index: usize) -> Result<Self> {
        let failed = |err| driver_error("opening the device", index, err);
        // cudarc makes the context that it opens the thread's current one
        let _restore = Restore::later().map_err(failed)?;
        // the primary context is the one that libtorch uses, so its tensors and streams are valid in it
        let context = CudaContext::new(index).map_err(failed)?;
        let shared_limit = context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
            .map_err(|err| driver_error("asking for the shared memory of a block", index, err))?;
        let shared_limit = shared_limit as usize;
        Ok(Self {
            context,
            shared_limit,
            kernels: Kernels::load(index, shared_limit)?,
        })
    }

    /// Bytes of dynamic shared memory that a block may have at most.
    pub(super) fn shared_limit(&self) -> usize {
        self.shared_limit
    }

    /// Its number.
    pub(super) fn index(&self) -> usize {
        self.context.ordinal()
    }

    /// Its primary context.
    pub(super) fn context(&self) -> CUcontext {
        self.context.cu_ctx()
    }

    /// Its kernels.
    pub(super) fn kernels(&self) -> &Kernels {
        &self.kernels
    }
}

#[cfg(test)]
#[path = "../../tests/common/skip.rs"]
mod skip;

#[cfg(test)]
mod tests {
    use super::super::images::IMAGES;
    use super::super::launch::Launch;
    use super::*;

    #[test]
    fn cuda_all_kernels_are_loaded_when_a_device_is_first_used() {
        if let Err(why) = availability() {
            let test = "cuda_all_kernels_are_loaded_when_a_device_is_first_used";
            return skip::skip(test, &why.to_string());
        }
        let device = Device::get(0).unwrap();
        let launch = |image, kernel| Launch {
            image,
            kernel,
            grid: [1; 3],
            block: [1; 3],
            shared_bytes: 0,
        };
        for image in IMAGES {
            for kernel in image.kernels {
                device.kernels().get(&launch(image.name, kernel)).unwrap();
            }
        }
        let err = device.kernels().get(&launch("spline", "spline_of_old"));
        let text = err.unwrap_err().to_string();
        assert!(
            text.contains("kernels/spline.cu of this build has no kernel spline_of_old"),
            "{text}"
        );
    }
}
