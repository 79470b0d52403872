//! The examples print what the comments at their heads promise.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The lines between ```` ```text ```` and ```` ``` ```` after `Expected output:` in the comment at the head.
fn expected(source: &str) -> String {
    let comment = source.lines().map_while(|line| line.strip_prefix("//!"));
    comment
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .skip_while(|line| *line != "Expected output:")
        .skip(2)
        .take_while(|line| *line != "```")
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Where cargo puts an example: `cargo test` builds them beside the tests.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap(); // target/release/deps/examples-HASH
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.is_file(),
        "{} is not built: cargo build --release --examples",
        path.display()
    );
    path
}

fn check(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join(format!("examples/{name}.rs"))).unwrap();
    let promised = expected(&source);
    assert!(!promised.is_empty(), "{name} promises no output");
    // one thread: the examples run side by side, and libtorch's threads wait for each other by spinning
    let mut example = Command::new(binary(name));
    let output = example.env("OMP_NUM_THREADS", "1").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), promised, "{name}");
}

#[test]
fn operator_in_a_net() {
    check("operator_in_a_net");
}

#[test]
fn custom_function() {
    check("custom_function");
}

#[test]
fn flow_on_your_data() {
    check("flow_on_your_data");
}
