//! A test in a process of its own: this test program, started once more for that one test.
//!
//! Tests of one program run side by side in one process. What belongs to the whole process (libtorch's number of
//! threads, an environment variable, the peak of its memory) is changed or measured in another one.

use std::process::Command;

/// The command that runs one test of this program; `module` is the test's own `module_path!()`.
pub fn again(module: &str, test: &str) -> Command {
    // the first part is the name of the program, which the names of its tests do not begin with
    let (_, module) = module.split_once("::").expect("a test in a module");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("{module}::{test}")]);
    command.args(["--nocapture", "--test-threads=1"]);
    command
}
