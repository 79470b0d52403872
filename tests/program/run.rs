//! The program in a process of its own, as a user calls it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `inverse-flow` with arguments that have no spaces in them, in `folder`.
pub fn run(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env_remove("INVERSE_FLOW_DATA")
        .env("OMP_NUM_THREADS", "1") // small tensors, and other tests beside this one
        .output()
        .unwrap()
}

/// What a command that must succeed prints.
#[track_caller]
pub fn done(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The message of a command that must end with `code`.
#[track_caller]
pub fn fails(folder: &Path, arguments: &str, code: i32) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
