//! The GPU of tests that need one.

use crate::skip::skip;
use tch::Device;

/// Device 0, or a note that `test` is skipped; where `INVERSE_FLOW_REQUIRE_CUDA=1`, the test fails instead.
pub fn gpu(test: &str) -> Option<Device> {
    match inverse_flow::cuda::availability() {
        Ok(()) => Some(Device::Cuda(0)),
        Err(why) if std::env::var("INVERSE_FLOW_REQUIRE_CUDA").is_ok_and(|v| v == "1") => {
            panic!("{why}")
        }
        Err(why) => {
            skip(test, &why.to_string());
            None
        }
    }
}
