//! How training on several processes ends when something goes wrong: soon, and with one message.

use crate::program::{ended, folder_of, last, program, reach, start, step_of, tensors, RUN};
use crate::skip::skip;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// A run that does not end by itself, and can go on from every step.
fn endless() -> String {
    format!("{RUN} --epochs 100000 --checkpoint-minutes 0")
}

fn signal(name: &str, pid: u32) {
    let kill = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(kill.unwrap().success());
}

/// The text of standard error of all ranks, without what torch itself says there.
fn messages(outputs: &[Output]) -> Vec<String> {
    let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let all: Vec<_> = outputs.iter().map(text).collect();
    let lines = all.iter().flat_map(|text| text.lines());
    lines
        .filter(|line| line.starts_with("error: "))
        .map(str::to_owned)
        .collect()
}

/// Waits for all but rank `lost`, which is ended afterwards; none of them succeeds, and there is one error.
#[track_caller]
fn one_message(mut children: Vec<Child>, lost: Option<usize>) -> String {
    // far above what is promised, for a machine that does other things
    let deadline = Instant::now() + Duration::from_secs(240);
    for (rank, child) in children.iter_mut().enumerate() {
        while lost != Some(rank) && child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    if let Some(rank) = lost {
        children[rank].kill().unwrap();
    }
    let outputs = ended(children);
    for (rank, output) in outputs.iter().enumerate() {
        let code = output.status.code();
        assert!(
            code == Some(1) || lost == Some(rank),
            "rank {rank}: {output:?}"
        );
    }
    let messages = messages(&outputs);
    assert_eq!(messages.len(), 1, "{outputs:?}");
    let said = outputs.iter().filter(|output| {
        let text = String::from_utf8_lossy(&output.stderr);
        text.contains("`inverse-flow train --resume run` continues from the last checkpoint")
    });
    assert_eq!(said.count(), 1, "{outputs:?}");
    messages[0].clone()
}

#[test]
fn a_rank_that_is_killed_ends_the_others_and_the_run_goes_on_to_the_same_end() {
    let dir = tempfile::tempdir().unwrap();
    let (run, whole) = (dir.path().join("killed"), dir.path().join("whole"));
    let children = start(&run, 3, &endless());
    reach(&run, 2);
    signal("-KILL", children[1].id());
    let message = one_message(children, Some(1));
    assert!(message.contains("rank 1 left no word"), "{message}");
    let end = step_of(&run).unwrap() + 3;
    crate::program::done(&run, 3, &format!("train --resume run --max-steps {end}"));
    crate::program::done(&whole, 3, &format!("{} --max-steps {end}", endless()));
    assert!(tensors(&run) == tensors(&whole));
}

#[test]
fn a_rank_that_stands_still_ends_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let children = start(dir.path(), 3, &endless());
    reach(dir.path(), 2);
    signal("-STOP", children[2].id());
    let message = one_message(children, Some(2));
    assert!(
        message.contains("rank 2 failed: it gives no sign of life"),
        "{message}"
    );
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_all_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let children = start(dir.path(), 2, &endless());
    reach(dir.path(), 2);
    let file = last(dir.path());
    // rank 0 may put the file back before the folder is there
    while std::fs::create_dir(&file).is_err() {
        let _ = std::fs::remove_file(&file);
    }
    let message = one_message(children, None);
    assert!(
        message.starts_with("error: rank 0 of 2: run/checkpoints/last"),
        "{message}"
    );
    assert!(message.contains("cannot be written"), "{message}");
}

#[test]
fn a_run_that_is_in_use_is_refused_and_one_whose_process_is_gone_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder_of(dir.path(), 0);
    let mut child = program(&folder, &endless()).spawn().unwrap();
    reach(dir.path(), 2);
    let holder = format!("run: process {} on ", child.id());
    for arguments in ["train --resume run", &format!("{RUN} --overwrite")] {
        let output = program(&folder, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(&holder), "{text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(folder.join("run/lock.json").exists());
    let end = step_of(dir.path()).unwrap() + 1;
    let output = program(&folder, &format!("train --resume run --max-steps {end}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!folder.join("run/lock.json").exists());
}

#[test]
fn commands_for_one_process_say_so() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        "reproduce table3 --out t",
        "bench op",
        "plot run",
        "convert a b",
    ] {
        let outputs = ended(start(dir.path(), 2, arguments));
        let codes: Vec<_> = outputs.iter().map(|output| output.status.code()).collect();
        assert_eq!(codes, [Some(2), Some(2)], "{outputs:?}");
        let messages = messages(&outputs);
        let name = arguments.split(' ').next().unwrap();
        let start = format!("error: {name} runs in one process, not in 2: ");
        assert!(
            matches!(&messages[..], [one] if one.starts_with(&start)),
            "{outputs:?}"
        );
    }
}

#[test]
fn torchrun_starts_a_killed_rank_again_and_the_run_ends_as_without_it() {
    const TEST: &str = "torchrun_starts_a_killed_rank_again_and_the_run_ends_as_without_it";
    let torchrun = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/torchrun");
    if !torchrun.exists() {
        return skip(TEST, "no .venv/bin/torchrun: scripts/setup.sh installs it");
    }
    let dir = tempfile::tempdir().unwrap();
    let (run, whole) = (dir.path().join("killed"), dir.path().join("whole"));
    let folder = folder_of(&run, 0);
    std::fs::create_dir_all(&folder).unwrap();
    let arguments = format!("{RUN} --epochs 12 --checkpoint-minutes 0");
    let torchrun = Command::new(torchrun)
        .args(["--standalone", "--no-python", "--nproc-per-node", "2"])
        .args(["--max-restarts", "1", "--monitor-interval", "0.1"])
        .arg(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(arguments.split_whitespace())
        .current_dir(&folder)
        .env("OMP_NUM_THREADS", "1")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    reach(&run, 3);
    let lock = std::fs::read_to_string(folder.join("run/lock.json")).unwrap();
    let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
    signal("-KILL", lock["process"].as_u64().unwrap() as u32);
    let output = torchrun.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("resuming at step "), "{text}");
    crate::program::done(&whole, 2, &arguments);
    assert_eq!(step_of(&run), Some(48));
    assert!(tensors(&run) == tensors(&whole));
}
