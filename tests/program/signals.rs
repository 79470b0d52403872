//! Ctrl-C and SIGTERM while a model trains.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A run in the middle of its steps.
fn training(folder: &std::path::Path) -> Child {
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

#[test]
fn the_first_signal_saves_and_the_second_ends_the_process_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("stopped");
    let mut child = training(&run);
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(run.join("checkpoints/last.safetensors").exists());

    // libtorch must not be taken apart beside threads that compute: that went wrong every other time
    for attempt in 0..5 {
        let mut child = training(&dir.path().join(attempt.to_string()));
        signal(&child, "-TERM");
        signal(&child, "-TERM");
        let status = child.wait().unwrap();
        // a step that ends between the two signals ends the run as the first one asks
        assert!(matches!(status.code(), Some(130 | 0)), "{status}");
    }
}
