//! Float32 means float32: libtorch's TF32 is off after every entry into the library. No GPU is needed: the settings are
//! libtorch's own, whether its CUDA half is there or not.

use crate::process::again;
use inverse_flow::cuda::precision::{get, set, Float32};
use inverse_flow::cuda::{availability, libtorch};
use inverse_flow::train::{build_model, presets, DeviceChoice};
use tch::Device;

/// Which entry a process tries.
const ENTRY: &str = "INVERSE_FLOW_TEST_ENTRY";

/// Enters the library; the outcome says whether there is a GPU, which does not matter here.
fn enter(entry: &str) {
    match entry {
        "load" => drop(libtorch::load()),
        "availability" => drop(availability()),
        "auto" => drop(DeviceChoice::Auto.pick()),
        "cuda" => drop(DeviceChoice::Cuda(0).pick()),
        "model" => {
            let config = presets::by_name("quick/inverse-flow").unwrap();
            // a tensor on a GPU that is not there would be a panic of tch: the error comes before it
            let made = build_model(&config, Device::Cuda(0));
            assert_eq!(made.is_ok(), availability().is_ok());
        }
        other => panic!("unknown entry {other}"),
    }
}

/// In a process of its own for every entry: the settings are the process's, and set once.
#[test]
fn tf32_is_off_after_every_entry() {
    if let Ok(entry) = std::env::var(ENTRY) {
        // as libtorch comes: this is what has to be switched off
        let at_first = get().unwrap();
        assert_eq!(at_first.to_string(), "tf32", "{at_first:?}");
        enter(&entry);
        assert_eq!(get().unwrap().to_string(), "ieee");
        // a person's own choice stays
        set(Float32::Tf32).unwrap();
        enter(&entry);
        assert_eq!(get().unwrap().to_string(), "tf32");
        return;
    }
    for entry in ["load", "availability", "auto", "cuda", "model"] {
        let output = again(module_path!(), "tf32_is_off_after_every_entry")
            .env(ENTRY, entry)
            // with it the test programs enter before they begin
            .env_remove("INVERSE_FLOW_TEST_DEVICE")
            // matrix products are IEEE as they come; with this they are not
            .env("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{entry}: {text}{err}");
        assert!(text.contains("1 passed"), "{text}");
        assert!(
            !err.contains("deprecat") && !err.contains("Please use"),
            "{entry}: {err}"
        );
    }
}
