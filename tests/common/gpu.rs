//! The GPU of tests that compare one with the CPU. Their names begin with `cuda_`.

use crate::device::device;
use crate::skip::skip;
use tch::Device;

/// The device of this run where it is a GPU; else a note that `test` is skipped.
pub fn gpu(test: &str) -> Option<Device> {
    let device = device();
    if device.is_cuda() {
        return Some(device);
    }
    skip(
        test,
        "runs where INVERSE_FLOW_TEST_DEVICE=cuda: scripts/test.sh emulated",
    );
    None
}
