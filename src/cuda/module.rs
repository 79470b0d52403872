//! The kernels of a GPU: all files of this build, loaded when the GPU is first used.
//!
//! All at once, because a file that is loaded later could meet a CUDA graph that is being recorded, in which nothing may be
//! loaded.

use super::driver_error::driver_error;
use super::images::{Image, IMAGES};
use super::launch::Launch;
use crate::{Error, Result};
use cudarc::driver::result::{function, module};
use cudarc::driver::sys::{culib, CUfunction, CUfunction_attribute, CUmodule, CUresult};
use cudarc::driver::DriverError;
use std::collections::HashMap;
use std::ffi::CString;

/// Dynamic shared memory that a kernel may use without asking.
const DEFAULT_SHARED: usize = 48 * 1024;

/// A kernel's handle; it lives as long as its module, which is never unloaded.
#[derive(Clone, Copy)]
struct KernelHandle(CUfunction);

// SAFETY: a CUfunction is an opaque handle of the driver, which may be used from any thread.
unsafe impl Send for KernelHandle {}
// SAFETY: as above.
unsafe impl Sync for KernelHandle {}

/// The kernels of one GPU by their names.
pub(super) struct Kernels(HashMap<&'static str, KernelHandle>);

impl Kernels {
    /// Loads every file, once, into the thread's current context, which is that of GPU `device`. Its blocks may have
    /// `shared_limit` bytes of dynamic shared memory.
    ///
    /// # Errors
    /// [`Error::Cuda`] with the file, the kernel and the GPU.
    pub(super) fn load(device: usize, shared_limit: usize) -> Result<Self> {
        let mut kernels = HashMap::new();
        for image in IMAGES {
            let file = format!("kernels/{}.cu", image.name);
            let loaded = load_image(image).map_err(|err| driver_error(&file, device, err))?;
            for &name in image.kernels {
                let kernel = load_kernel(loaded, name, shared_limit)
                    .map_err(|err| driver_error(&format!("{file}, kernel {name}"), device, err))?;
                kernels.insert(name, KernelHandle(kernel));
            }
        }
        Ok(Self(kernels))
    }

    /// The kernel of a launch.
    ///
    /// # Errors
    /// This build has none of that name.
    pub(super) fn get(&self, launch: &Launch) -> Result<CUfunction> {
        let (file, name) = (launch.image, launch.kernel);
        let kernel = self.0.get(name).ok_or_else(|| {
            Error::Cuda(format!(
                "kernels/{file}.cu of this build has no kernel {name}: cargo clean -p inverse-flow, and build again"
            ))
        })?;
        Ok(kernel.0)
    }
}

type Outcome<T> = std::result::Result<T, DriverError>;

fn load_image(image: &Image) -> Outcome<CUmodule> {
    // SAFETY: a whole fatbin made by nvcc, whose size is in its header, at an aligned address; the driver copies what it
    // keeps.
    unsafe { module::load_data(image.bytes.as_ptr().cast()) }
}

/// The kernel `name` of a module, ready to be launched with all the shared memory that the GPU has.
fn load_kernel(module: CUmodule, name: &str, shared_limit: usize) -> Outcome<CUfunction> {
    let symbol = CString::new(name).map_err(|_| DriverError(CUresult::CUDA_ERROR_NOT_FOUND))?;
    // SAFETY: a live module, which is never unloaded, so the function stays valid.
    let kernel = unsafe { module::get_function(module, symbol) }?;
    load_code(kernel)?;
    if shared_limit > DEFAULT_SHARED {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: a live function, and a limit that the device itself has named.
        unsafe { function::set_function_attribute(kernel, attribute, shared_limit as i32) }?;
    }
    Ok(kernel)
}

/// Has the driver load a kernel's code. With `CUDA_MODULE_LOADING=LAZY`, the default, it may otherwise leave that to the
/// first launch. Drivers that do not know the call, those before CUDA 12.4, load the code with the function's handle.
fn load_code(kernel: CUfunction) -> Outcome<()> {
    type FuncLoad = unsafe extern "C" fn(CUfunction) -> CUresult;
    // SAFETY: the driver is loaded, and the name and type are those of cuda.h.
    match unsafe { culib().get::<FuncLoad>(b"cuFuncLoad\0") } {
        // SAFETY: a live function.
        Ok(load) => unsafe { load(kernel) }.result(),
        Err(_) => Ok(()),
    }
}
