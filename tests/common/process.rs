//! A test in a process of its own: this test program, started once more for that one test.
//!
//! Tests of one program run side by side in one process. What belongs to the whole process (libtorch's number of
//! threads, an environment variable, the peak of its memory) is changed or measured in another one.

use std::process::Command;

/// The environment variable that the other process knows itself by.
const ALONE: &str = "INVERSE_FLOW_TEST_ALONE";

/// The command that runs one test of this program; `module` is the test's own `module_path!()`.
pub fn again(module: &str, test: &str) -> Command {
    // the first part is the name of the program, which the names of its tests do not begin with
    let (_, module) = module.split_once("::").expect("a test in a module");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("{module}::{test}")]);
    command.args(["--nocapture", "--test-threads=1"]);
    command
}

/// Runs `body`, the whole of the test, in a process of its own.
#[track_caller]
pub fn alone(module: &str, test: &str, body: impl FnOnce()) {
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
