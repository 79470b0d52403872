//! `plot` with several runs: what the legend says, which axes there are, and what cannot be drawn.

use crate::run::{done, fails};
use inverse_flow::train::{presets, RunConfig};
use serde_json::json;
use std::path::Path;

/// A run folder with a training line a step and a validation every ten of them.
fn run(at: &Path, name: &str, steps: u64, change: impl FnOnce(&mut RunConfig)) {
    let mut config = presets::by_name("quick/inverse-flow").unwrap();
    change(&mut config);
    let folder = at.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_json().unwrap()).unwrap();
    let mut text = String::new();
    for step in 1..=steps {
        let bpd = 2.0 + 30.0 / (step as f64 + 9.0) + config.train.lr;
        for split in ["train", "val"] {
            if split == "train" || step % 10 == 0 {
                let line = json!({
                    "step": step, "epoch": 1, "images": 50 * step, "split": split, "nll_nats": null, "bpd": bpd,
                    "lr": 0.1, "grad_norm": null, "images_per_s": null, "seconds": 7 * step, "skipped": 0,
                });
                text += &format!("{line}\n");
            }
        }
    }
    std::fs::write(folder.join("metrics.jsonl"), text).unwrap();
}

#[test]
fn runs_are_told_apart_by_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    run(at, "runs/a", 100, |config| config.train.lr = 0.25);
    run(at, "runs/b", 30, |config| config.train.lr = 0.125);
    run(at, "runs/empty/a", 1, |config| {
        config.train.lr = 0.5;
        config.seed = 3;
    });
    let svg = |arguments: &str| {
        assert_eq!(
            done(at, &format!("plot {arguments} --out new/c.svg")).trim(),
            "new/c.svg"
        );
        std::fs::read_to_string(at.join("new/c.svg")).unwrap()
    };
    let text = svg("runs/a runs/b");
    assert!(
        text.contains("a (lr 0.25)") && text.contains("b (lr 0.125)"),
        "{text}"
    );
    assert!(
        text.contains("\nstep\n") && !text.contains("seed"),
        "{text}"
    );
    let sizes = text.split("font-size=\"").skip(1);
    let sizes: Vec<f64> = sizes
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect();
    // plotters writes a font's size divided by 1.24
    assert!(
        !sizes.is_empty() && sizes.iter().all(|size| *size >= 12.0),
        "{sizes:?}"
    );
    assert!(text.starts_with("<svg width=\"1200\""), "{text}");
    // two folders of one name, one of them with a single step
    let text = svg("runs/a runs/empty/a --x time");
    assert!(text.contains("runs/a (seed 0, lr 0.25)"), "{text}");
    assert!(
        text.contains("runs/empty/a (seed 3, lr 0.5)") && text.contains("minutes of training"),
        "{text}"
    );
    assert!(svg("runs/a runs/b --x images").contains("training images seen"));
    done(at, "plot runs/a runs/b --out c.png");
    let picture = image::open(at.join("c.png")).unwrap();
    assert_eq!(picture.width(), 1200);
    // one alone
    done(at, "plot runs/a");
    done(at, "plot runs/a --x images --out one.svg");
    assert!(at.join("runs/a/curves.png").exists() && at.join("one.svg").exists());
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    run(at, "a", 20, |_| {});
    run(at, "begun", 0, |_| {});
    run(at, "bare", 0, |_| {});
    std::fs::remove_file(at.join("bare/metrics.jsonl")).unwrap();
    std::fs::create_dir(at.join("other")).unwrap();
    run(at, "old", 2, |_| {});
    let lines = std::fs::read_to_string(at.join("old/metrics.jsonl")).unwrap();
    std::fs::write(
        at.join("old/metrics.jsonl"),
        lines.replace("\"images\"", "\"images_then\""),
    )
    .unwrap();
    for (arguments, what, way_out) in [
        (
            "a begun --out c.svg",
            "begun/metrics.jsonl",
            "no measurement yet",
        ),
        ("bare a --out c.svg", "bare", "before it is trained"),
        ("a other --out c.svg", "other", "no config.json"),
        ("a nowhere --out c.svg", "nowhere", "train --out"),
        ("a begun", "several runs", "--out FILE.png"),
        ("a begun --out c.pdf", "c.pdf", ".png or .svg"),
        ("a begun --out c", "c: ", ".png or .svg"),
        ("a ./a --out c.svg", "./a", "twice"),
        (
            "a old --x images --out c.svg",
            "old/metrics.jsonl",
            "--x steps",
        ),
    ] {
        // what the arguments alone make impossible is wrong usage
        let code = if what == "several runs" || way_out == ".png or .svg" {
            2
        } else {
            1
        };
        let message = fails(at, &format!("plot {arguments}"), code);
        assert!(
            message.contains(what) && message.contains(way_out),
            "{arguments}: {message}"
        );
        assert_eq!(message.lines().count(), 1, "{arguments}: {message}");
    }
    assert!(!at.join("c.svg").exists());
    // a line that is being written does not hinder
    let text = std::fs::read_to_string(at.join("a/metrics.jsonl")).unwrap();
    std::fs::write(at.join("a/metrics.jsonl"), text + "{\"step\": 21, \"ep").unwrap();
    done(at, "plot a");
}
