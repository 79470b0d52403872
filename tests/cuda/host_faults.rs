//! Kernels with faults in them, for the fixture to find. Needs `mod host_cuda` beside it.

use crate::host_cuda::{self, Config};

/// Twin: `FaultParams` in tests/cuda/host_cuda/faults.cu.
#[repr(C)]
struct FaultParams {
    out: *mut f32,
    number: *mut i32,
    fault: i32,
}

/// Runs a faulty kernel with a block of 32 threads, or `blocks` of them in turns.
pub fn fault(kernel: &str, fault: i32, order: u32, blocks: u32) -> Result<Vec<f32>, String> {
    let mut out = vec![f32::NAN; 32];
    let mut number = 0;
    let params = FaultParams {
        out: out.as_mut_ptr(),
        number: &raw mut number,
        fault,
    };
    let config = Config {
        grid: [blocks, 1, 1],
        block: [32, 1, 1],
        shared_bytes: 32 * 4,
        order,
        resident: blocks,
    };
    // SAFETY: `params` is the twin of the launcher's struct; `out` has one element a thread, and as many as there are
    // blocks, and outlives the call, as does `number`.
    unsafe { host_cuda::launch("launch_fault", kernel, &params, &config) }?;
    Ok(out)
}
