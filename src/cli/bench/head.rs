//! The head of a measurement.

use crate::cli::doctor::float32;
use crate::words::{self, counted};
use tch::Device;

/// What a measurement runs on, for the head of its text: a GPU with its precision, and threads.
pub(super) fn head(device: Device) -> String {
    let threads = counted(tch::get_num_threads(), "thread");
    match device {
        Device::Cpu => format!("cpu, {threads}"),
        gpu => format!(
            "{}, float32: {}, {threads}",
            words::device(gpu),
            float32(gpu)
        ),
    }
}
