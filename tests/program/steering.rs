//! When a run ends by itself, which checkpoints it keeps, and what `--overwrite` leaves alone.

use crate::folder::names;
use crate::run::{done, fails};

const RUN: &str = "train --limit 20 --batch-size 5 --levels 1 --steps 1 --width 4 --device cpu --val-every 1 --out run";

#[test]
fn a_run_without_improvement_ends() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    // no validation after the first is better by 100 bits
    let said = done(
        at,
        &format!("{RUN} --patience 2 --min-delta 100 --max-steps 20"),
    );
    assert!(
        said.contains("done: 3 steps") && said.contains("2 validations in a row"),
        "{said}"
    );
    let said = done(at, "train --resume run");
    assert!(
        said.contains("already complete") && said.contains("--patience"),
        "{said}"
    );
    // it goes on counting where it was
    let said = done(at, "train --resume run --patience 3");
    assert!(said.contains("done: 4 steps"), "{said}");
    // what improves goes on
    let said = done(
        at,
        &format!("{RUN} --overwrite --patience 2 --max-steps 6 --lr 0.001 --warmup-steps 0"),
    );
    assert!(said.contains("done: 6 steps"), "{said}");
}

#[test]
fn the_latest_checkpoints_are_kept_and_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --keep 2 --max-steps 5"));
    let expected = [
        "best.safetensors",
        "last.safetensors",
        "step-00000004.safetensors",
        "step-00000005.safetensors",
    ];
    assert_eq!(names(&at.join("run/checkpoints")), expected);
    let read = |name: &str| std::fs::read(at.join("run/checkpoints").join(name)).unwrap();
    assert_eq!(read("last.safetensors"), read("step-00000005.safetensors"));
    assert_ne!(read("last.safetensors"), read("step-00000004.safetensors"));
    let said = done(
        at,
        "eval run/checkpoints/step-00000004.safetensors --device cpu",
    );
    assert!(said.contains("bits per dimension"), "{said}");
}

#[test]
fn overwriting_removes_what_a_run_has_written_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --keep 9 --max-steps 2"));
    for mine in [
        "samples/mine.png",
        "samples/epoch-one.png",
        "checkpoints/mine.safetensors",
        "notes.txt",
    ] {
        std::fs::write(at.join("run").join(mine), "mine").unwrap();
    }
    std::fs::write(at.join("run/samples/epoch-0099.png"), "old").unwrap();
    done(at, &format!("{RUN} --overwrite --max-steps 1 --samples 1"));
    assert_eq!(
        names(&at.join("run/samples")),
        ["epoch-0001.png", "epoch-one.png", "mine.png"]
    );
    assert_eq!(
        names(&at.join("run/checkpoints")),
        ["best.safetensors", "last.safetensors", "mine.safetensors"]
    );
    assert_eq!(std::fs::read(at.join("run/notes.txt")).unwrap(), b"mine");

    // the configuration of something else is no run
    let other = at.join("other");
    std::fs::create_dir_all(other.join("samples")).unwrap();
    std::fs::write(
        other.join("config.json"),
        "{\"architectures\": [\"Other\"]}",
    )
    .unwrap();
    let message = fails(
        at,
        &format!(
            "{} --overwrite --max-steps 1",
            RUN.replace("--out run", "--out other")
        ),
        1,
    );
    assert!(message.contains("holds no run"), "{message}");
    assert_eq!(names(&other), ["config.json", "samples"]);
}
