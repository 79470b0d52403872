//! How much memory a computation needs.

use crate::ffi::memory::cuda_peak_bytes;
use crate::Result;
use tch::{Device, Kind, Tensor};

/// Largest memory held so far, bytes: on a GPU what tensors held at once since [`reset`], by torch's allocator; on the CPU
/// the resident memory of the process since it began. `None` where the system does not say.
///
/// # Errors
/// A CUDA device that is not there.
pub fn peak(device: Device) -> Result<Option<u64>> {
    match device {
        Device::Cuda(index) => cuda_peak_bytes(index, false).map(Some),
        _ => Ok(process("VmHWM:")),
    }
}

/// Memory held now, bytes: 0 on a GPU after [`reset`] of an empty device, else the resident memory of the process.
///
/// # Errors
/// As [`peak`].
pub fn reset(device: Device) -> Result<Option<u64>> {
    match device {
        Device::Cuda(index) => {
            // torch's allocator knows a device from its first tensor on
            drop(Tensor::f_zeros([1], (Kind::Float, device))?);
            cuda_peak_bytes(index, true)?;
            cuda_peak_bytes(index, false).map(Some)
        }
        _ => Ok(process("VmRSS:")),
    }
}

/// What [`peak`] means on a device, for readers.
pub fn what(device: Device) -> &'static str {
    match device {
        Device::Cuda(_) => "tensors, by torch's allocator",
        _ => "resident, of the process",
    }
}

/// A line of `/proc/self/status` in bytes.
fn process(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_shows_in_the_peak_of_the_process() {
        let before = peak(Device::Cpu).unwrap().unwrap();
        let ones = Tensor::ones([64 << 20], (Kind::Float, Device::Cpu));
        let grown = peak(Device::Cpu).unwrap().unwrap();
        assert!(reset(Device::Cpu).unwrap().unwrap() <= grown);
        // another test may have held as much before
        assert!(grown >= before && grown >= 256 << 20, "{before} {grown}");
        drop(ones);
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error() {
        if !tch::Cuda::is_available() {
            assert!(peak(Device::Cuda(0)).is_err());
        }
    }
}
