//! Ctrl-C and SIGTERM while a model trains.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A run in the middle of its steps.
fn training(folder: &Path) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(["train", "--preset", "quick/inverse-flow", "--device", "cpu"])
        .args(["--threads", "2", "--quiet", "--out"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = folder.join("metrics.jsonl");
    // no measurement: it only ends a test whose run never gets there
    let deadline = Instant::now() + Duration::from_secs(600);
    while std::fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert!(Instant::now() < deadline, "no step in ten minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// How a process ends, which it must do by itself.
#[track_caller]
fn code(mut child: Child) -> i32 {
    // no measurement: it only ends a test whose process does not
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The program with arguments that have no spaces in them, in `folder`.
fn begin(folder: &Path, arguments: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env("OMP_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn the_first_signal_saves_and_the_second_ends_the_process_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let about_us = std::fs::read_to_string("/proc/self/status").unwrap();
    for (name, number) in [("HUP", 1), ("INT", 2), ("TERM", 15)] {
        if masked(&about_us, "SigIgn:", number) {
            // whoever started the tests wants it ignored, as nohup does, and children inherit that
            continue;
        }
        let run = dir.path().join(name);
        let child = training(&run);
        signal(&child, &format!("-{name}"));
        assert_eq!(code(child), 128 + number);
        assert!(run.join("checkpoints/last.safetensors").exists());
    }

    // libtorch must not be taken apart beside threads that compute: that went wrong every other time
    for attempt in 0..5 {
        let child = training(&dir.path().join(attempt.to_string()));
        signal(&child, "-TERM");
        signal(&child, "-TERM");
        assert_eq!(code(child), 143);
    }
}

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let program = env!("CARGO_BIN_EXE_inverse-flow");
    let command =
        format!("trap '' HUP; exec {program} train --device cpu --threads 1 --quiet --out run");
    let child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .current_dir(at)
        .spawn()
        .unwrap();
    let lines = || {
        std::fs::read_to_string(at.join("run/metrics.jsonl")).map_or(0, |text| text.lines().count())
    };
    let wait_for = |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(600);
        while lines() < count {
            assert!(Instant::now() < deadline, "no step in ten minutes");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_for(1);
    signal(&child, "-HUP");
    wait_for(lines() + 2);
    signal(&child, "-TERM");
    assert_eq!(code(child), 143);
}

#[test]
fn nothing_is_waited_for_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let made = Command::new("mkfifo")
        .arg("silent.npy")
        .current_dir(at)
        .status();
    assert!(made.unwrap().success());
    for (arguments, sign) in [
        ("--data ./silent.npy", None),
        // seconds of building
        ("--steps 1000 --levels 2 --width 256", None),
        // pictures of a validated run
        (
            "--limit 20 --batch-size 10 --max-steps 1 --samples 200000",
            Some("val"),
        ),
    ] {
        let child = begin(
            at,
            &format!("train {arguments} --device cpu --quiet --out run"),
        );
        let reached = || match sign {
            Some(sign) => std::fs::read_to_string(at.join("run/metrics.jsonl"))
                .is_ok_and(|text| text.contains(sign)),
            // the signals are watched for before anything else
            None => {
                let status =
                    std::fs::read_to_string(format!("/proc/{}/task/{0}/status", child.id()));
                status.is_ok_and(|status| masked(&status, "SigCgt:", 15))
            }
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !reached() {
            assert!(Instant::now() < deadline, "{arguments}");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, "-TERM");
        assert_eq!(code(child), 143, "{arguments}");
    }
    // all was saved
    let said = crate::run::done(at, "train --resume run --samples 0");
    assert!(said.contains("already complete"), "{said}");
}

/// Whether a signal is in a mask of what Linux says about a process.
fn masked(status: &str, mask: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(mask));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask >> (signal - 1) & 1 == 1
}
