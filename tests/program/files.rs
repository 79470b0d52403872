//! The files of the program on a disk that gets full, and when it is killed in the middle of one.
//!
//! A limit on the size of files takes the place of the full disk: the write that would cross it fails.

use crate::run::{done, fails};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `inverse-flow` by a shell, after the shell's own `first` words.
fn shell(folder: &Path, first: &str, arguments: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_inverse-flow");
    Command::new("bash")
        .args(["-c", &format!("{first}; exec '{program}' {arguments}")])
        .current_dir(folder)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

/// Files of a folder and those below it, by name, with their sizes.
fn content(folder: &Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            let size = fs::metadata(&path).unwrap().len();
            all.push((path.display().to_string(), size));
        }
    }
    all.sort();
    all
}

const RUN: &str = "train --limit 20 --batch-size 10 --levels 2 --steps 1 --width 6 --device cpu --epochs 1 --quiet --out run";

/// Blocks of 1024 bytes that every file below is larger than.
const FULL: &str = "trap '' XFSZ; ulimit -f 1";

/// Commands that write a file each.
const COMMANDS: [&str; 5] = [
    "convert run out.safetensors",
    "convert run out.ot",
    "convert run out.pt",
    "sample run --count 64 --device cpu --out out.png",
    "reconstruct run --device cpu --out out.png",
];

/// The file that a command writes.
fn output(command: &str) -> &str {
    command.split(' ').next_back().unwrap()
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    for command in COMMANDS {
        let out = at.join(output(command));
        fs::write(&out, "older").unwrap();
        let before = content(at);
        let failed = shell(at, FULL, command);
        let message = String::from_utf8_lossy(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{command}: {message}");
        let expected = format!("{}: cannot be written: File too large", output(command));
        assert!(message.contains(&expected), "{command}: {message}");
        assert_eq!(content(at), before, "{command}");
        done(at, command);
        assert!(fs::metadata(&out).unwrap().len() > 1024, "{command}");
    }

    // the run's own files: the checkpoint of a new session does not fit
    let before = content(&at.join("run/checkpoints"));
    let failed = shell(at, FULL, "train --resume run --epochs 2 --quiet");
    let message = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{message}");
    assert_eq!(content(&at.join("run/checkpoints")), before);
    done(at, "train --resume run --epochs 2 --quiet");
}

/// Starts a command and kills it when a new file appears in the folder; whether that file is one that was begun only.
fn kill_at_its_first_file(at: &Path, command: &str) -> bool {
    let names = || -> Vec<_> {
        let entries = fs::read_dir(at).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names();
    let mut child = Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(command.split(' '))
        .current_dir(at)
        .env("OMP_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while names().len() == before.len() && child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    names().len() > before.len() && !at.join(output(command)).exists()
}

#[test]
fn a_killed_program_leaves_no_half_file_under_the_final_name() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    let before = content(at);
    for command in COMMANDS {
        // the program may be faster than this test, but not every time
        let killed_in_the_middle = (0..50).any(|_| {
            let _ = fs::remove_file(at.join(output(command)));
            kill_at_its_first_file(at, command)
        });
        assert!(killed_in_the_middle, "{command}");
        // what was begun is beside it under another name until the next write
        assert!(!at.join(output(command)).exists(), "{command}");
        assert_eq!(content(at).len(), before.len() + 1, "{command}");
        done(at, command);
        fs::remove_file(at.join(output(command))).unwrap();
        assert_eq!(content(at), before, "{command}");
    }
}

#[test]
fn what_is_read_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    let best = "run/checkpoints/best.safetensors";
    symlink(best, at.join("link.safetensors")).unwrap();
    symlink("run", at.join("same")).unwrap();
    fs::hard_link(at.join(best), at.join("hard.safetensors")).unwrap();
    let before = content(at);
    for arguments in [
        format!("convert run {best}"),
        "convert run run/checkpoints/last.safetensors".to_owned(),
        format!("convert same {best}"),
        format!("convert {best} {best}"),
        format!("convert {best} ./run/../{best}"),
        format!("convert {best} link.safetensors"),
        format!("convert link.safetensors {best}"),
    ] {
        let message = fails(at, &arguments, 2);
        assert!(message.contains("write to another file"), "{message}");
        assert_eq!(content(at), before, "{arguments}");
    }
    // a hard link is another name, whose content alone is replaced
    done(at, &format!("convert {best} hard.safetensors"));
    done(at, "train --resume run --epochs 2 --quiet");
    done(at, "convert run run/model.ot");
    done(at, "convert run run/model.ot");
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, RUN);
    for command in [
        "eval run --limit 2 --device cpu --json",
        "eval run --limit 2 --device cpu",
        "inspect run",
        "convert run out.ot",
        "sample run --count 4 --device cpu --out out.png",
        "doctor",
        "completions bash",
    ] {
        let failed = shell(at, "exec >/dev/full", command);
        let message = String::from_utf8_lossy(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{command}: {message}");
        assert!(message.contains("No space left"), "{command}: {message}");
    }
    // a reader that has read enough is no failure
    let output = shell(at, "exec > >(head -c 1 >/dev/null)", "inspect run");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
