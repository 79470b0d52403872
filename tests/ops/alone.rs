//! A test of the CPU that changes what belongs to the whole process, in a process of its own.

use crate::cpu::cpu;
use crate::process::again;

/// The environment variable that the other process knows itself by.
const ALONE: &str = "INVERSE_FLOW_TEST_ALONE";

/// Runs `body`, the whole of the test called `cpu_...`, in a process of its own.
#[track_caller]
pub fn alone(module: &str, test: &str, body: impl FnOnce()) {
    if !cpu(test) {
        return;
    }
    if std::env::var_os(ALONE).is_some_and(|name| name == test) {
        return body();
    }
    let output = again(module, test).env(ALONE, test).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let text = text.concat();
    assert!(output.status.success(), "{text}");
    // a wrong name would run nothing, and well
    assert!(
        text.contains("1 passed"),
        "no test is called {test}: {text}"
    );
}
