//! Limits of the system: on memory, files, threads and the stack. Whatever is not enough ends in one line that says what and
//! what to do, or does not matter.

use crate::run::done;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RUN: &str = "train --out run --quiet --limit 4 --batch-size 2 --max-steps 1 --samples 1 --steps 1 --width 4";
/// A hang is a fault too.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the program after `ulimit` was called with these flags.
fn limited(folder: &Path, ulimit: &str, arguments: &str) -> Output {
    let mut child = Command::new("sh")
        .args(["-c", r#"ulimit $1; shift; exec "$@""#, "sh", ulimit])
        .arg(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(arguments.split(' '))
        .current_dir(folder)
        .env("OMP_NUM_THREADS", "2")
        .env_remove("INVERSE_FLOW_DATA")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("{arguments} hangs with ulimit {ulimit}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// What an ended command says that is not about its device or its file.
fn errors(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().map(str::to_owned);
    // OpenMP has a line of its own, after an empty one, before it ends the process
    let about = ["device: ", "using ", "libgomp: "];
    lines
        .filter(|line| !line.is_empty() && !about.iter().any(|start| line.starts_with(start)))
        .collect()
}

/// The one line of a command that has failed.
#[track_caller]
fn failed_with(output: &Output) -> String {
    let mut said = errors(output);
    assert_eq!(
        (output.status.code(), said.len()),
        (Some(1), 1),
        "{output:?}"
    );
    said.remove(0)
}

/// Whether the loader, or libtorch before `main`, has found no memory.
fn has_not_begun(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stderr);
    output.status.code() == Some(127) || text.starts_with("terminate called")
}

#[test]
fn too_little_memory_ends_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), RUN);
    let commands = [
        "--version",
        "inspect run",
        "sample run --count 2 --out out.png",
        "eval run --limit 2",
        "train --out new --overwrite --quiet --limit 4 --batch-size 2 --max-steps 1 --samples 1 --steps 1 --width 4",
    ];
    let mut refused = 0;
    // KiB, from what the libraries alone take to what is enough
    for memory in (460..700).step_by(60) {
        for command in commands {
            let output = limited(folder.path(), &format!("-v {memory}000"), command);
            if output.status.success() || has_not_begun(&output) {
                continue;
            }
            refused += 1;
            let said = errors(&output);
            let line = said
                .last()
                .unwrap_or_else(|| panic!("{memory} {command}: {output:?}"));
            assert_eq!(said.len(), 1, "{memory} {command}: {output:?}");
            assert_eq!(
                output.status.code(),
                Some(1),
                "{memory} {command}: {output:?}"
            );
            assert!(line.contains("ulimit -v"), "{memory} {command}: {line}");
        }
    }
    assert!(refused > 2, "{refused}");
}

#[test]
fn a_batch_that_is_too_large_is_named_with_its_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let large = "train --out run --quiet --limit 1000 --batch-size 1000 --width 2000 --steps 1 --max-steps 1 --samples 0";
    let output = limited(folder.path(), "-v 1000000", large);
    let said = failed_with(&output);
    assert!(said.starts_with("error: out of memory "), "{said}");
    assert!(
        said.contains("--batch-size") && said.contains("--accumulate"),
        "{said}"
    );
}

#[test]
fn a_file_that_gets_too_large_is_an_error_and_the_folder_can_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    // blocks of 512 bytes
    let output = limited(folder.path(), "-f 1", RUN);
    let said = failed_with(&output);
    assert!(
        said.contains("cannot be written: File too large"),
        "{said:?}"
    );
    // what it left is no run, and does not count as something else either
    done(folder.path(), RUN);
    let output = limited(folder.path(), "-f 1", "sample run --count 9 --out out.png");
    let said = errors(&output);
    assert!(
        said[0].contains("out.png: cannot be written: File too large"),
        "{output:?}"
    );
    assert!(!folder.path().join("out.png").exists());
}

#[test]
fn a_small_stack_and_few_open_files_do() {
    for ulimit in ["-s 64", "-s 256", "-n 16"] {
        let folder = tempfile::tempdir().unwrap();
        let output = limited(folder.path(), ulimit, RUN);
        assert!(output.status.success(), "{ulimit}: {output:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = limited(folder.path(), "-n 6", RUN);
    let said = failed_with(&output);
    assert!(
        said.contains("Too many open files") && said.contains("ulimit -n"),
        "{said}"
    );
}

#[test]
fn more_threads_than_the_system_allows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), RUN);
    for threads in [100_000, i32::MAX] {
        let command = format!("eval run --limit 2 --threads {threads}");
        let output = limited(folder.path(), "-v 4000000", &command);
        let said = failed_with(&output);
        assert!(said.contains("smaller --threads"), "{said}");
    }
}

#[test]
fn numbers_without_a_limit_of_their_own_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let huge = u64::MAX.to_string();
    for (flag, number, says) in [
        ("steps", huge.as_str(), "`steps` must be at most"),
        ("steps", "2147483648", "`steps` must be at most"),
        ("pad", "4294967296", "a side of an image must be"),
        ("kernel", "4294967296", "no tensor can be so large"),
    ] {
        let train = format!("train --out run --quiet --limit 4 --max-steps 1 --{flag} {number}");
        let output = limited(folder.path(), "-v 4000000", &train);
        let said = errors(&output);
        assert_eq!(said.len(), 1, "{train}: {output:?}");
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{train}: {output:?}"
        );
        assert!(said[0].contains(says), "{train}: {said:?}");
    }
}
