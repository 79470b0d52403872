//! libtorch's CUDA half, loaded at run time: one binary serves machines with and without a GPU.

use super::precision::{self, Float32};
use super::probe::{driver, is_loaded, load_globally};
use crate::{Error, Result};
use std::path::Path;
use std::sync::OnceLock;

const LIBRARY: &str = "libtorch_cuda.so";
/// Where libtorch was when this crate was built.
const BUILD_TIME_LIB: &str = env!("INVERSE_FLOW_LIBTORCH_LIB");

/// Loads `libtorch_cuda.so` where an NVIDIA driver is present, once. The program calls it before its first tensor:
/// libtorch looks for its CUDA half once only, and never again.
///
/// It also makes libtorch multiply float32 numbers as float32 on GPUs, whether one is there or not: see [`precision`],
/// also for how to have TF32 again. What uses a GPU in this crate calls `load` first; a program that computes with layers of
/// its own before that calls it itself.
///
/// # Errors
/// [`Error::Cuda`] with the cause and the way out: no driver, or a libtorch without (or with a broken) CUDA half.
pub fn load() -> Result<()> {
    static OUTCOME: OnceLock<Result<(), String>> = OnceLock::new();
    let load = || {
        let loaded = try_load();
        // after the library: nothing may ask libtorch about CUDA before
        let exact = match python_owns_this_process() {
            true => Ok(()),
            false => precision::set(Float32::Ieee),
        };
        loaded.and(exact.map_err(|err| err.to_string()))
    };
    OUTCOME.get_or_init(load).clone().map_err(Error::Cuda)
}

/// Whether this code runs as the operator library inside of Python's torch, whose settings are the user's.
fn python_owns_this_process() -> bool {
    is_loaded("libtorch_python.so")
}

fn try_load() -> Result<(), String> {
    if let Some(problem) = driver().problem(Path::new("/dev/nvidia0").exists()) {
        return Err(format!("{}: {}", problem.what, problem.fix));
    }
    // by name first: Python has loaded it already, and LD_LIBRARY_PATH may point at it
    load_globally(Path::new(LIBRARY))
        .or_else(|_| load_globally(&Path::new(BUILD_TIME_LIB).join(LIBRARY)))
        .map_err(|why| {
            format!(
                "libtorch's CUDA half cannot be loaded ({why}): put the `lib` folder of libtorch 2.11.0 for CUDA 13.0 on \
                 LD_LIBRARY_PATH"
            )
        })
}

/// Whether kernels can run: driver and libtorch's CUDA half are loaded, libtorch sees a GPU, and this build has kernels.
///
/// # Errors
/// [`Error::Cuda`] with the cause and the way out.
pub fn availability() -> Result<()> {
    load()?;
    if !tch::Cuda::is_available() {
        return Err(Error::Cuda(
            "libtorch finds no usable GPU although the driver works: see `nvidia-smi` and CUDA_VISIBLE_DEVICES, and \
             load libtorch's CUDA half (`inverse_flow::cuda::libtorch::load`) before the first tensor"
                .into(),
        ));
    }
    if super::images::IMAGES.is_empty() {
        return Err(Error::Cuda(
            "this build has no kernels: build again with nvcc 13.0 (scripts/setup.sh installs it) and without \
             INVERSE_FLOW_CUDA=0"
                .into(),
        ));
    }
    Ok(())
}
