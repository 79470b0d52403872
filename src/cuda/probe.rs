//! What the NVIDIA driver says about itself and its cards, asked without any risk of a panic.
//!
//! cudarc panics where `libcuda.so.1` is missing, and libtorch only says "no CUDA". This asks the driver
//! directly, so that the cause and the way out can be named: see [`DriverReport::problem`].

use libloading::os::unix::{Library, Symbol, RTLD_GLOBAL, RTLD_NOW};
use std::ffi::{c_char, c_int, c_uint, CStr};
use std::path::Path;

/// The CUDA that libtorch and the kernels are built for: 13.0, as the driver writes versions.
pub const CUDA_VERSION: i32 = 13_000;
/// The oldest driver that runs CUDA 13.0.
pub const MIN_DRIVER: &str = "580";

/// A graphics card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Name, e.g. `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compute capability, e.g. `(9, 0)`.
    pub capability: (u32, u32),
    /// Memory in bytes.
    pub memory: u64,
}

/// How far the driver got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverReport {
    /// `libcuda.so.1` cannot be loaded, or is not a CUDA driver.
    Missing {
        /// What the dynamic linker said.
        reason: String,
    },
    /// The library is there, but does not start.
    Failing {
        /// Newest CUDA it supports, as `1000 * major + 10 * minor`.
        cuda: Option<i32>,
        /// The `CUresult` of the call that failed.
        code: i32,
        /// Its name, e.g. `CUDA_ERROR_NO_DEVICE`.
        name: String,
    },
    /// It works.
    Ready {
        /// Newest CUDA it supports, as `1000 * major + 10 * minor`.
        cuda: i32,
        /// The cards this process may use.
        gpus: Vec<Gpu>,
    },
}

/// Why CUDA does not work, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The cause.
    pub what: String,
    /// A command or a sentence.
    pub fix: String,
}

impl DriverReport {
    /// The newest CUDA that the driver supports, as `13.0`.
    #[cfg(any(feature = "program", test))]
    pub fn cuda(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => None,
            Self::Failing { cuda, .. } => cuda.map(dotted),
            Self::Ready { cuda, .. } => Some(dotted(*cuda)),
        }
    }

    /// The cards this process may use; none unless the driver is ready.
    #[cfg(feature = "program")]
    pub fn gpus(&self) -> &[Gpu] {
        match self {
            Self::Ready { gpus, .. } => gpus,
            _ => &[],
        }
    }

    /// Why CUDA does not work here, or `None` if the driver and a card are ready for it.
    ///
    /// `has_card` says whether a card is plugged in, which only the bus knows without a driver.
    pub fn problem(&self, has_card: bool) -> Option<Problem> {
        let problem = |what: String, fix: &str| {
            Some(Problem {
                what,
                fix: fix.to_owned(),
            })
        };
        let too_old = |cuda: i32| {
            problem(
                format!(
                    "the NVIDIA driver supports CUDA {}, and CUDA {} is needed",
                    dotted(cuda),
                    dotted(CUDA_VERSION)
                ),
                &format!("update the NVIDIA driver to {MIN_DRIVER} or newer, then reboot"),
            )
        };
        match self {
            Self::Missing { .. } if has_card => problem(
                "an NVIDIA card, but no driver (libcuda.so.1 cannot be loaded)".into(),
                &format!(
                    "install the NVIDIA driver {MIN_DRIVER} or newer; in a container, start it with --gpus all \
                     (NVIDIA Container Toolkit)"
                ),
            ),
            Self::Missing { .. } => problem(
                "no NVIDIA driver (libcuda.so.1 cannot be loaded)".into(),
                "use the CPU, or a machine with an NVIDIA card and its driver",
            ),
            Self::Failing {
                cuda: Some(cuda), ..
            }
            | Self::Ready { cuda, .. }
                if *cuda < CUDA_VERSION =>
            {
                too_old(*cuda)
            }
            Self::Failing { code: 100, .. } => problem(
                "the NVIDIA driver sees no card (CUDA_ERROR_NO_DEVICE)".into(),
                "unset CUDA_VISIBLE_DEVICES; in a container, start it with --gpus all",
            ),
            Self::Failing { code: 803 | 804, name, .. } => problem(
                format!("libcuda.so.1 and the kernel's NVIDIA module do not fit ({name})"),
                "reboot after a driver update; in a container, remove its own libcuda (compat) from LD_LIBRARY_PATH",
            ),
            Self::Failing { code: 999, name, .. } => problem(
                format!("the NVIDIA driver does not start ({name})"),
                "sudo modprobe nvidia_uvm, or reboot; `nvidia-smi` and `dmesg` tell more",
            ),
            Self::Failing { code, name, .. } => problem(
                format!("the NVIDIA driver does not start ({name}, error {code})"),
                "see what `nvidia-smi` says, and reboot if the driver was updated",
            ),
            Self::Ready { gpus, .. } if gpus.is_empty() => problem(
                "the NVIDIA driver works, but sees no card".into(),
                "unset CUDA_VISIBLE_DEVICES; in a container, start it with --gpus all",
            ),
            Self::Ready { .. } => None,
        }
    }
}

/// `13000` as `13.0`.
fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

type CuResult = c_int;
const ATTRIBUTE_CAPABILITY_MAJOR: c_int = 75;
const ATTRIBUTE_CAPABILITY_MINOR: c_int = 76;

/// The functions of the driver that are asked here.
struct Api {
    init: Symbol<unsafe extern "C" fn(c_uint) -> CuResult>,
    driver_version: Symbol<unsafe extern "C" fn(*mut c_int) -> CuResult>,
    error_name: Symbol<unsafe extern "C" fn(CuResult, *mut *const c_char) -> CuResult>,
    device_count: Symbol<unsafe extern "C" fn(*mut c_int) -> CuResult>,
    device: Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> CuResult>,
    device_name: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> CuResult>,
    device_attribute: Symbol<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> CuResult>,
    device_memory: Symbol<unsafe extern "C" fn(*mut usize, c_int) -> CuResult>,
}

impl Api {
    fn load() -> Result<Self, libloading::Error> {
        // SAFETY: libcuda's initialisers are those of the installed driver, the same that libtorch would run.
        let library = unsafe { Library::open(Some("libcuda.so.1"), RTLD_NOW) }?;
        // SAFETY: the names and types are those of cuda.h, whose exported symbols never change their signature
        // (a changed function gets a new suffix, such as _v2).
        let api = unsafe {
            Self {
                init: library.get(b"cuInit\0")?,
                driver_version: library.get(b"cuDriverGetVersion\0")?,
                error_name: library.get(b"cuGetErrorName\0")?,
                device_count: library.get(b"cuDeviceGetCount\0")?,
                device: library.get(b"cuDeviceGet\0")?,
                device_name: library.get(b"cuDeviceGetName\0")?,
                device_attribute: library.get(b"cuDeviceGetAttribute\0")?,
                device_memory: library.get(b"cuDeviceTotalMem_v2\0")?,
            }
        };
        // the driver starts threads that outlive this call, and the symbols must stay valid: never unload it
        std::mem::forget(library);
        Ok(api)
    }

    fn name_of(&self, code: CuResult) -> String {
        let mut text = std::ptr::null();
        // SAFETY: the out-pointer lives for the call; the callee stores the address of a static string or null.
        let found = unsafe { (self.error_name)(code, &mut text) };
        if found != 0 || text.is_null() {
            return format!("CUDA error {code}");
        }
        // SAFETY: not null, and a NUL-terminated string with static lifetime, as cuGetErrorName documents.
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned()
    }

    fn version(&self) -> Result<i32, CuResult> {
        let mut version = 0;
        // SAFETY: the out-pointer lives for the call; the function may be called before cuInit.
        status(unsafe { (self.driver_version)(&mut version) })?;
        Ok(version)
    }

    fn gpus(&self) -> Result<Vec<Gpu>, CuResult> {
        // SAFETY: 0 is the only flag that cuInit accepts; repeated calls are allowed.
        status(unsafe { (self.init)(0) })?;
        let mut count = 0;
        // SAFETY: the out-pointer lives for the call, and cuInit has succeeded.
        status(unsafe { (self.device_count)(&mut count) })?;
        (0..count).map(|index| self.gpu(index)).collect()
    }

    fn gpu(&self, index: c_int) -> Result<Gpu, CuResult> {
        let mut device = 0;
        // SAFETY: the out-pointer lives for the call, and `index` is below the device count.
        status(unsafe { (self.device)(&mut device, index) })?;
        let mut name = [0 as c_char; 256];
        // SAFETY: the buffer has the length that is passed, and the driver ends the name with NUL within it.
        status(unsafe { (self.device_name)(name.as_mut_ptr(), 255, device) })?;
        let mut memory = 0;
        // SAFETY: the out-pointer lives for the call, and `device` comes from cuDeviceGet.
        status(unsafe { (self.device_memory)(&mut memory, device) })?;
        let attribute = |which| -> Result<u32, CuResult> {
            let mut value = 0;
            // SAFETY: as for the memory; `which` is an attribute of cuda.h.
            status(unsafe { (self.device_attribute)(&mut value, which, device) })?;
            Ok(u32::try_from(value).unwrap_or(0))
        };
        Ok(Gpu {
            // SAFETY: the buffer was zeroed and its last byte was not offered to the driver, so a NUL ends it.
            name: unsafe { CStr::from_ptr(name.as_ptr()) }
                .to_string_lossy()
                .into_owned(),
            capability: (
                attribute(ATTRIBUTE_CAPABILITY_MAJOR)?,
                attribute(ATTRIBUTE_CAPABILITY_MINOR)?,
            ),
            memory: memory as u64,
        })
    }
}

fn status(code: CuResult) -> Result<(), CuResult> {
    if code == 0 {
        Ok(())
    } else {
        Err(code)
    }
}

/// Asks the driver. Makes no CUDA context and takes no memory on a card.
pub fn driver() -> DriverReport {
    let api = match Api::load() {
        Ok(api) => api,
        Err(err) => {
            return DriverReport::Missing {
                reason: err.to_string(),
            }
        }
    };
    let version = api.version();
    match (version, api.gpus()) {
        (Ok(cuda), Ok(gpus)) => DriverReport::Ready { cuda, gpus },
        (version, Err(code)) | (version @ Err(code), Ok(_)) => DriverReport::Failing {
            cuda: version.ok(),
            code,
            name: api.name_of(code),
        },
    }
}

/// Loads a shared library for good, with its symbols visible to libraries that are loaded later, as
/// libtorch's CUDA half must be.
///
/// # Errors
/// What the dynamic linker says.
pub fn load_globally(path: &Path) -> Result<(), String> {
    // SAFETY: the library is a part of the libtorch that this process already runs; its initialisers register
    // kernels with it and ask nothing of the caller.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    // what it registered points into it: never unload it
    library.map(std::mem::forget).map_err(|err| err.to_string())
}

/// Whether this process has loaded a shared library, by its name.
pub fn is_loaded(name: &str) -> bool {
    // SAFETY: with RTLD_NOLOAD nothing is loaded or run; it only finds what is there.
    let found = unsafe { Library::open(Some(name), RTLD_NOW | libc::RTLD_NOLOAD) };
    found.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(cuda: i32, capabilities: &[(u32, u32)]) -> DriverReport {
        let gpus = capabilities.iter().map(|&capability| Gpu {
            name: "card".into(),
            capability,
            memory: 1 << 30,
        });
        DriverReport::Ready {
            cuda,
            gpus: gpus.collect(),
        }
    }

    fn failing(cuda: i32, code: i32) -> DriverReport {
        DriverReport::Failing {
            cuda: Some(cuda),
            code,
            name: "CUDA_ERROR_X".into(),
        }
    }

    #[test]
    fn every_cause_has_its_own_text_and_way_out() {
        let missing = DriverReport::Missing {
            reason: "not found".into(),
        };
        let cases = [
            (missing.clone(), false, "no NVIDIA driver", "CPU"),
            (
                missing,
                true,
                "but no driver",
                "install the NVIDIA driver 580",
            ),
            (
                ready(12_080, &[(9, 0)]),
                true,
                "supports CUDA 12.8, and CUDA 13.0 is needed",
                "580",
            ),
            (failing(12_080, 100), true, "supports CUDA 12.8", "580"),
            (failing(13_000, 100), true, "sees no card", "--gpus all"),
            (
                failing(13_000, 803),
                true,
                "do not fit (CUDA_ERROR_X)",
                "reboot",
            ),
            (failing(13_000, 999), true, "does not start", "nvidia_uvm"),
            (failing(13_000, 2), true, "error 2", "nvidia-smi"),
            (
                ready(13_010, &[]),
                true,
                "sees no card",
                "CUDA_VISIBLE_DEVICES",
            ),
        ];
        for (report, has_card, what, fix) in cases {
            let problem = report.problem(has_card).expect("a problem");
            assert!(problem.what.contains(what), "{problem:?} misses `{what}`");
            assert!(problem.fix.contains(fix), "{problem:?} misses `{fix}`");
        }
        assert_eq!(ready(13_000, &[(9, 0)]).problem(true), None);
    }

    #[test]
    fn versions_are_written_with_a_dot() {
        assert_eq!(ready(12_040, &[]).cuda().as_deref(), Some("12.4"));
        assert_eq!(dotted(13_000), "13.0");
    }

    #[test]
    fn asking_a_machine_never_panics() {
        match driver() {
            DriverReport::Missing { reason } => assert!(reason.contains("libcuda"), "{reason}"),
            DriverReport::Failing { name, .. } => assert!(!name.is_empty()),
            DriverReport::Ready { cuda, .. } => assert!(cuda >= 1_000, "{cuda}"),
        }
        let err = load_globally(Path::new("/nowhere/libtorch_cuda.so")).unwrap_err();
        assert!(err.contains("/nowhere/libtorch_cuda.so"), "{err}");
    }
}
