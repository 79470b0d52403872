//! Tests that are about the CPU's kernels only. Their names begin with `cpu_`.

use crate::device::device;
use crate::skip::skip;

/// Whether this run is one on the CPU; else there is a note that `test` is skipped.
pub fn cpu(test: &str) -> bool {
    let here = !device().is_cuda();
    if !here {
        skip(test, "is about the CPU: INVERSE_FLOW_TEST_DEVICE=cpu");
    }
    here
}
