//! The device that the tests run on: the CPU, or what `INVERSE_FLOW_TEST_DEVICE` names.
//!
//! Tests make their tensors on [`device`], so that the same tests run on every device.

use inverse_flow::train::DeviceChoice;
use std::sync::OnceLock;
use tch::Device;

const VARIABLE: &str = "INVERSE_FLOW_TEST_DEVICE";

/// The device of this run. One that was asked for and is not there fails the test: nothing replaces it.
#[track_caller]
pub fn device() -> Device {
    static DEVICE: OnceLock<Result<Device, String>> = OnceLock::new();
    match DEVICE.get_or_init(asked_for) {
        Ok(device) => *device,
        Err(why) => panic!("{VARIABLE}: {why}"),
    }
}

/// Its name in the texts of errors.
#[allow(dead_code)] // not every program of tests reads such a text
pub fn device_name() -> String {
    match device() {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

fn asked_for() -> Result<Device, String> {
    let text = std::env::var(VARIABLE).unwrap_or_else(|_| "cpu".into());
    match text.parse() {
        Ok(DeviceChoice::Auto) | Err(_) => Err(format!(
            "`{text}` is no device of a test: choose cpu, cuda or cuda:1"
        )),
        Ok(choice) => choice
            .pick()
            .map(|picked| picked.device)
            .map_err(|why| why.to_string()),
    }
}

/// libtorch looks for its CUDA half once, at the first tensor of any test: before `main` there is none.
#[used]
#[link_section = ".init_array"]
static BEFORE_MAIN: extern "C" fn() = load_cuda;

extern "C" fn load_cuda() {
    if std::env::var(VARIABLE).is_ok_and(|text| text.starts_with("cuda")) {
        // what is missing is said by `device`, where a test can fail with it
        let _ = inverse_flow::cuda::libtorch::load();
    }
}
