//! Whether a training step is taken, on the GPU: parameters, launch. `kernels/verdict.cu` explains the kernel.

use super::current::launch_all;
use super::launch::Launch;
use super::tensors::address;
use crate::{Error, Result};
use std::mem::{offset_of, size_of};
use tch::{Device, Kind, Tensor};

/// Threads of its only block; twin: `kVerdictThreads`.
const THREADS: u32 = 32;
/// Float64 numbers of the totals; twin: `VerdictTotals`.
pub const TOTALS: usize = 8;

/// The launch.
pub const LAUNCH: Launch = Launch {
    image: "verdict",
    kernel: "verdict",
    grid: [1, 1, 1],
    block: [THREADS, 1, 1],
    shared_bytes: 0,
};

/// Parameters: field for field the twin of `VerdictParams` in `kernels/verdict.cuh`, which explains them.
///
/// Pointers are device addresses, 0 until they are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // in verdict.cuh
pub struct VerdictParams {
    pub nll: u64,
    pub grad_norm: u64,
    pub totals: u64,
    pub skip: u64,
    pub scale: u64,
    pub in_row: f64,
    pub most_in_row: f64,
    pub clip_norm: f32,
    pub starts: i32,
}

const _: () = {
    assert!(size_of::<VerdictParams>() == 64);
    assert!(offset_of!(VerdictParams, in_row) == 40);
    assert!(offset_of!(VerdictParams, starts) == 60);
};

/// Decides about a step with this loss and this norm, 0-d float32, adds it to `totals` (`[8]`, float64), and returns what
/// tells the optimiser to skip it, and what to divide the gradient by: 0-d float32. Nothing waits for the device. `params`
/// holds the numbers, no addresses.
///
/// # Errors
/// Tensors of other sizes, kinds or devices, or a launch that fails.
pub(crate) fn verdict(
    [nll, grad_norm, totals]: [&Tensor; 3],
    mut params: VerdictParams,
) -> Result<[Tensor; 2]> {
    let device = totals.device();
    let number = |t: &Tensor| (t.device(), t.kind(), t.dim()) == (device, Kind::Float, 0);
    let whole = (totals.kind(), totals.size()) == (Kind::Double, vec![TOTALS as i64]);
    let (Device::Cuda(index), true) = (device, number(nll) && number(grad_norm) && whole) else {
        return Err(Error::Cuda(format!(
            "expected two float32 numbers and {TOTALS} float64 totals on one GPU, got {nll:?}, {grad_norm:?}, {totals:?}"
        )));
    };
    let made = || Tensor::f_empty([0i64; 0], (Kind::Float, device));
    let [skip, scale] = [made()?, made()?];
    [params.nll, params.grad_norm, params.totals] = [nll, grad_norm, totals].map(address);
    [params.skip, params.scale] = [&skip, &scale].map(address);
    // SAFETY: the parameters of this kernel, with tensors of this GPU and of the sizes that it has; torch's allocator hands
    // their memory on in the order of the stream.
    unsafe { launch_all(index, &[LAUNCH], &params)? };
    Ok([skip, scale])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_constants_are_those_of_the_source() {
        let source = include_str!("../../kernels/verdict.cu");
        assert!(source.contains(&format!(" {}(", LAUNCH.kernel)));
        let header = include_str!("../../kernels/verdict.cuh");
        assert!(header.contains(&format!("kVerdictThreads = {THREADS};")));
        let bytes = TOTALS * size_of::<f64>();
        assert!(header.contains(&format!("sizeof(VerdictTotals) == {bytes},")));
    }
}
