//! The program as a user meets it: help, exit codes, one-line errors, and a whole small run.

use crate::run::done;
use serde_json::Value;
use std::path::Path;

/// Runs a command that must fail with `code` and in few words; returns its error message.
fn fails(folder: &Path, arguments: &str, code: i32) -> String {
    let message = crate::run::fails(folder, arguments, code);
    let error = message.lines().filter(|line| !line.starts_with("device:"));
    let error: Vec<_> = error.collect();
    assert!(error[0].starts_with("error: "), "{arguments}: {message}");
    for word in ["panicked", "RUST_BACKTRACE", "bug", "Exception raised"] {
        assert!(!message.contains(word), "{arguments}: {message}");
    }
    if code == 1 {
        assert!(error.len() <= 2, "{arguments}: {message}");
    }
    message
}

fn json(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).unwrap()
}

fn keys(value: &Value) -> String {
    let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    keys.join(" ")
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

const SMALL: &str =
    "train --limit 30 --batch-size 10 --levels 2 --steps 1 --width 6 --device cpu --epochs 2";

#[test]
fn a_small_run_from_training_to_curves() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let text = done(at, &format!("{SMALL} --out run"));
    assert!(text.contains("validation"), "{text}");
    for file in [
        "config.json",
        "metrics.jsonl",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
    ] {
        assert!(at.join("run").join(file).exists(), "{file}");
    }
    for picture in [
        "samples/epoch-0001.png",
        "samples/epoch-0002.png",
        "curves.png",
    ] {
        assert!(is_png(&at.join("run").join(picture)), "{picture}");
    }

    let result = json(&done(
        at,
        "eval run --json --limit 20 --roundtrip --device cpu",
    ));
    assert_eq!(
        keys(&result),
        "model params data split images nll_nats bpd roundtrip_max_abs dequantize roundtrip"
    );
    assert_eq!(
        (&result["images"], &result["split"]),
        (&20.into(), &"test".into())
    );
    let (nll, bpd) = (
        result["nll_nats"].as_f64().unwrap(),
        result["bpd"].as_f64().unwrap(),
    );
    assert!((nll / (784.0 * 2f64.ln()) - bpd).abs() < 1e-9);
    assert!(
        result["roundtrip_max_abs"].as_f64().unwrap() < 1e-3,
        "{result}"
    );

    // the midpoint needs no seed; uniform noise is a function of it
    let bpd = |arguments: &str| {
        let command = format!("eval run --json --limit 20 --device cpu {arguments}");
        json(&done(at, &command))["bpd"].as_f64().unwrap()
    };
    assert_eq!(
        bpd("--dequantize midpoint --seed 1"),
        bpd("--dequantize midpoint --seed 2")
    );
    assert_eq!(bpd("--seed 1"), bpd("--seed 1"));
    assert_ne!(bpd("--seed 1"), bpd("--seed 2"));

    done(at, "sample run --count 5 --out a.png");
    done(
        at,
        "sample run/checkpoints/best.safetensors --count 5 --out b.png",
    );
    let bytes = |name: &str| std::fs::read(at.join(name)).unwrap();
    assert!(is_png(&at.join("a.png")) && bytes("a.png") == bytes("b.png"));
    done(at, "sample run --count 5 --seed 1 --out b.png");
    assert_ne!(bytes("a.png"), bytes("b.png"));

    let text = done(at, "reconstruct run --count 6 --out pairs.png");
    assert!(
        is_png(&at.join("pairs.png")) && text.contains(" 0 of 4704 8-bit pixels"),
        "{text}"
    );

    std::fs::remove_file(at.join("run/curves.png")).unwrap();
    done(at, "plot run");
    assert!(is_png(&at.join("run/curves.png")));

    let result = json(&done(at, "inspect run --json"));
    assert_eq!(keys(&result), "model params buffers layers config");
    assert_eq!(result["config"]["train"]["epochs"], 2);

    let message = fails(at, &format!("{SMALL} --out run"), 1);
    assert!(
        message.contains("--resume") && message.contains("--overwrite"),
        "{message}"
    );
    done(
        at,
        &format!("{SMALL} --max-steps 1 --out run --overwrite --quiet"),
    );
    let metrics = std::fs::read_to_string(at.join("run/metrics.jsonl")).unwrap();
    assert!(!metrics.contains("\"step\":6"), "{metrics}");
}

#[test]
fn presets_can_be_inspected_without_data() {
    let dir = tempfile::tempdir().unwrap();
    let result = json(&done(
        dir.path(),
        "inspect --preset table3/inverse-flow --json",
    ));
    let layers = result["layers"].as_array().unwrap();
    let sum: u64 = layers
        .iter()
        .map(|layer| layer["params"].as_u64().unwrap())
        .sum();
    assert_eq!(
        result["params"].as_u64().unwrap(),
        sum,
        "every parameter belongs to one layer"
    );
    assert_eq!(result["config"]["preset"], "table3/inverse-flow");
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let top = done(dir.path(), "--help");
    for command in ["train", "eval", "sample", "reconstruct", "inspect", "plot"] {
        assert!(top.contains(command), "{top}");
        let help = done(dir.path(), &format!("{command} --help"));
        assert!(help.contains(&format!("inverse-flow {command}")), "{help}");
        assert!(help.contains("Example"), "{help}");
    }
}

#[test]
fn wrong_usage_is_2() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        ("train", "--out"),
        ("train --out a --resume b", "--resume"),
        ("train --resume a --resume-or-start", "--resume-or-start"),
        ("train --out a --overwrite --resume-or-start", "--overwrite"),
        ("train --out a --device gpu", "cuda:0"),
        ("train --out a --data imagenet", "glyphs"),
        ("train --out a --lr 0", "`train.lr`"),
        ("train --out a --preset table3/glow", "table3/inverse-flow"),
        ("train --out a --model glow", "inverse-flow"),
        ("train --out a --limit 7", "batch size"),
        ("eval", "RUN|FILE"),
        ("eval a --split all", "train, val or test"),
        ("sample a --count 0 --out b.png", "--count"),
        ("inspect", "--preset"),
        ("dance", "dance"),
    ] {
        let message = fails(dir.path(), arguments, 2);
        assert!(message.contains(expected), "{arguments}: {message}");
    }
    assert!(
        !dir.path().join("a").exists(),
        "a refused run leaves no folder"
    );
}

#[test]
fn failures_are_1_and_say_where() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    std::fs::create_dir(at.join("other")).unwrap();
    std::fs::write(at.join("other/notes.txt"), "mine").unwrap();
    std::fs::write(at.join("torn.safetensors"), "torn").unwrap();
    for (arguments, expected) in [
        ("eval nowhere", "nowhere"),
        ("eval other", "config.json"),
        ("eval torn.safetensors", "torn.safetensors"),
        ("train --resume other", "config.json"),
        ("train --out other --overwrite", "holds no run"),
        ("train --out a --config nowhere.json", "nowhere.json"),
        (
            "train --out a --preset table3/inverse-flow --data-dir none",
            "none",
        ),
        ("plot other", "other"),
    ] {
        let message = fails(at, arguments, 1);
        assert!(message.contains(expected), "{arguments}: {message}");
    }
    assert!(at.join("other/notes.txt").exists() && !at.join("a").exists());
}

#[test]
fn a_gpu_that_is_not_there_fails_with_the_cause() {
    if inverse_flow::cuda::availability().is_ok() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let message = fails(dir.path(), "train --device cuda --out a", 1);
    assert!(message.starts_with("error: CUDA: "), "{message}");
    assert!(!dir.path().join("a").exists());
}
