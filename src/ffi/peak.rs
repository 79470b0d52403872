//! The largest amount of memory in use, as the allocators of the devices count it.

use super::{status, sys};
use crate::{Error, Result};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Largest amount of memory since the start of the process or the last [`reset`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// MiB.
    pub mib: f64,
    /// What was counted.
    pub what: &'static str,
}

/// The peak on `device`: of the tensors alive at a time on a GPU, of the resident memory of the process on the CPU.
///
/// # Errors
/// libtorch's CUDA half is not loaded, or the system does not tell (only Linux does).
pub fn peak(device: Device) -> Result<Peak> {
    match device {
        Device::Cuda(index) => {
            let mut bytes = 0u64;
            status::checked(|error| {
                // SAFETY: both out-pointers live for the call.
                unsafe { sys::ivf_device_peak(index as i32, &mut bytes, error) }
            })?;
            Ok(Peak {
                mib: bytes as f64 / f64::from(1 << 20),
                what: "allocated on the device",
            })
        }
        _ => {
            let path = Path::new("/proc/self/status");
            let status = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
            let kib = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
                .ok_or_else(|| Error::file(path, "has no VmHWM"))?;
            Ok(Peak {
                mib: kib / 1024.0,
                what: "resident, of the process",
            })
        }
    }
}

/// Begins a new count on `device`; on the CPU memory that is free but kept is given back to the system first.
///
/// # Errors
/// As [`peak`].
pub fn reset(device: Device) -> Result<()> {
    match device {
        Device::Cuda(index) => {
            // torch's allocator knows a device from its first tensor on
            drop(Tensor::f_zeros([1], (Kind::Float, device))?);
            status::checked(|error| {
                // SAFETY: the out-pointer lives for the call.
                unsafe { sys::ivf_device_reset_peak(index as i32, error) }
            })
        }
        _ => {
            #[cfg(all(target_os = "linux", target_env = "gnu"))]
            // SAFETY: gives free pages of the allocator back; live memory is not touched.
            unsafe {
                libc::malloc_trim(0);
            }
            let path = Path::new("/proc/self/clear_refs");
            std::fs::write(path, "5").map_err(|err| Error::file(path, err))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_the_process_rises_with_its_memory_and_begins_anew() {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let size = 256 << 20;
        let before = peak(Device::Cpu).unwrap().mib;
        let memory = std::hint::black_box(vec![1u8; size]);
        let with = peak(Device::Cpu).unwrap().mib;
        assert!(with > before.max(mib(size)), "{before} {with}");
        drop(memory);
        reset(Device::Cpu).unwrap();
        let after = peak(Device::Cpu).unwrap().mib;
        assert!(after < with - 0.5 * mib(size), "{with} {after}");
    }
}
