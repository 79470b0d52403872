//! The shim between the bridge and torch's groups of GPUs: a shared object inside the program.
//!
//! It is loaded when GPUs join a group, after libtorch's CUDA half, whose symbols it needs. So nothing of NCCL is needed to start.

use super::sys;
use crate::{Error, Result};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::OnceLock;

/// What build.rs made of `nccl.cpp`; empty where it could not.
static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nccl.so"));
/// Why it could not.
const MISSING: &str = env!("INVERSE_FLOW_NCCL_MISSING");

/// What this build lacks to have the shim; `None` if it has it.
pub(crate) fn missing() -> Option<&'static str> {
    (!MISSING.is_empty()).then_some(MISSING)
}

/// `ivf_nccl_join`. libtorch's CUDA half is loaded.
///
/// # Errors
/// [`Error::Cuda`]: this build has no shim, or the linker cannot load it.
pub(crate) fn join() -> Result<sys::MembersJoin> {
    static JOIN: OnceLock<Result<sys::MembersJoin, String>> = OnceLock::new();
    JOIN.get_or_init(load).clone().map_err(Error::Cuda)
}

fn load() -> Result<sys::MembersJoin, String> {
    if let Some(missing) = missing() {
        return Err(format!(
            "this build cannot exchange between GPUs: {missing}. Run scripts/setup.sh and build again"
        ));
    }
    let file = in_memory().map_err(|err| format!("NCCL's shim finds no memory: {err}"))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the file is the shim, whose initialisers do nothing.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|err| {
        format!(
            "NCCL's shim does not fit libtorch's CUDA half: {err}; take the libtorch of the build"
        )
    })?;
    // SAFETY: nccl.cpp exports it with this type.
    let join = unsafe { library.get::<sys::MembersJoin>(b"ivf_nccl_join\0") };
    let join = *join.map_err(|err| err.to_string())?;
    // groups have code of it in use until the end of the process: never unload it
    std::mem::forget(library);
    Ok(join)
}

/// The shim as a file that has no name.
fn in_memory() -> io::Result<File> {
    // SAFETY: the name is a C string; the flag is one of memfd_create's.
    let fd = unsafe { libc::memfd_create(c"inverse-flow-nccl".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(SHIM)?;
    Ok(file)
}

/// The version of NCCL that this process has loaded, as `2.28.9`; `None` if it has none.
#[cfg(feature = "program")]
pub(crate) fn version() -> Option<String> {
    // SAFETY: with RTLD_NOLOAD nothing is loaded or run; it only finds what is there.
    let library = unsafe { Library::open(Some("libnccl.so.2"), RTLD_NOW | libc::RTLD_NOLOAD) };
    let library = library.ok()?;
    let mut number = 0;
    // SAFETY: the name and type are those of nccl.h, which keeps them; the out-pointer lives for the call.
    let status = unsafe {
        let get = library.get::<unsafe extern "C" fn(*mut std::ffi::c_int) -> std::ffi::c_int>(
            b"ncclGetVersion\0",
        );
        get.ok()?(&mut number)
    };
    // NCCL_VERSION since 2.9
    let (major, minor, patch) = (number / 10_000, number / 100 % 100, number % 100);
    (status == 0).then(|| format!("{major}.{minor}.{patch}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_libtorchs_cuda_half_the_shim_is_refused_and_the_process_goes_on() {
        // a process on a machine with a driver may have loaded it
        // SAFETY: with RTLD_NOLOAD nothing is loaded or run; it only finds what is there.
        let half = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | libc::RTLD_NOLOAD) };
        if missing().is_none() && half.is_err() {
            let err = load().unwrap_err();
            assert!(err.contains("libtorch_cuda.so"), "{err}");
        }
    }

    #[test]
    fn the_shim_loads_after_libtorchs_cuda_half_with_or_without_a_driver() {
        const TEST: &str = "the_shim_loads_after_libtorchs_cuda_half_with_or_without_a_driver";
        const ALONE: &str = "INVERSE_FLOW_TEST_LOADS_NCCL";
        let half = std::path::Path::new(env!("INVERSE_FLOW_LIBTORCH_LIB")).join("libtorch_cuda.so");
        if missing().is_some() || !half.exists() {
            return;
        }
        // in a process of its own: the half changes what all of it finds
        if std::env::var_os(ALONE).is_none() {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            again.args(["--exact", &format!("ffi::nccl::tests::{TEST}")]);
            let output = again.env(ALONE, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{text}"
            );
            return;
        }
        // SAFETY: a part of the libtorch that this process runs.
        let loaded = unsafe { Library::open(Some(half), RTLD_NOW | libc::RTLD_GLOBAL) };
        std::mem::forget(loaded.unwrap());
        load().unwrap();
        #[cfg(feature = "program")]
        assert!(version().unwrap().starts_with("2."));
    }
}
