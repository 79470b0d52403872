//! `INVERSE_FLOW_TEST_DEVICE`: a device that is not there fails the tests, whatever the machine.

use crate::device::device;
use crate::process::again;

#[test]
fn what_is_no_device_fails_the_test_that_asks_for_it() {
    const TEST: &str = "what_is_no_device_fails_the_test_that_asks_for_it";
    // in the processes below
    if std::env::var_os("INVERSE_FLOW_TEST_NO_DEVICE").is_some() {
        device();
        return;
    }
    for (wish, expected) in [
        ("gpu", "`gpu` is no device of a test: choose cpu, cuda"),
        ("auto", "`auto` is no device of a test"),
        ("", "`` is no device of a test"),
        ("cuda:99", "INVERSE_FLOW_TEST_DEVICE: CUDA: "),
    ] {
        let output = again(module_path!(), TEST)
            .env("INVERSE_FLOW_TEST_NO_DEVICE", "1")
            .env("INVERSE_FLOW_TEST_DEVICE", wish)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{wish}: {text}");
        assert!(text.contains(expected), "{wish}: {text}");
    }
}
