//! What a test does that needs something which this machine has not: it says so, and ends.
//!
//! Rust's test harness counts it as passed all the same; scripts/test.sh counts the notes and puts that right.

use std::fs::OpenOptions;
use std::io::Write;

/// Notes that `test` is skipped and why, in one line: among what the test prints, and at the end of the file that
/// `INVERSE_FLOW_SKIPPED_TESTS` names.
pub fn skip(test: &str, why: &str) {
    let line = format!("skipped: {test}: {}\n", why.replace('\n', " "));
    print!("{line}");
    if let Some(path) = std::env::var_os("INVERSE_FLOW_SKIPPED_TESTS") {
        // one write at the end of the file: tests of one process and of several do it side by side
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file of INVERSE_FLOW_SKIPPED_TESTS");
    }
}
