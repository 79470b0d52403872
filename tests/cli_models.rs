//! Every flow family from the command line: trained, evaluated, sampled, reconstructed.

use inverse_flow::models::MODELS;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env_remove("INVERSE_FLOW_DATA")
        .env("OMP_NUM_THREADS", "1") // small tensors, and other tests beside this one
        .output()
        .unwrap()
}

fn done(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wrong_usage(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

const SMALL: &str = "--limit 30 --batch-size 10 --levels 2 --steps 2 --width 6 --epochs 2";

#[test]
fn every_model_trains_evaluates_samples_and_reconstructs() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for model in MODELS {
        done(
            at,
            &format!("train --model {model} {SMALL} --device cpu --out {model}"),
        );
        let command = format!("eval {model} --json --limit 20 --roundtrip --device cpu");
        let result = json(&done(at, &command));
        assert_eq!(result["model"], *model);
        assert!(result["bpd"].as_f64().unwrap().is_finite());
        let error = result["roundtrip_max_abs"].as_f64().unwrap();
        assert!(error < 1e-3, "{model}: {result}");

        done(at, &format!("sample {model} --count 5 --out {model}.png"));
        assert!(is_png(&at.join(format!("{model}.png"))));
        let text = done(
            at,
            &format!("reconstruct {model} --count 6 --out pairs.png"),
        );
        assert!(text.contains(" 0 of 4704 8-bit pixels"), "{model}: {text}");

        let result = json(&done(at, &format!("inspect {model} --json")));
        let layers = result["layers"].as_array().unwrap().iter();
        let sum: u64 = layers.map(|layer| layer["params"].as_u64().unwrap()).sum();
        assert_eq!(result["params"].as_u64().unwrap(), sum, "{model}");
        assert_eq!(result["config"]["preset"], format!("quick/{model}"));
        assert_eq!(result["config"]["model"]["mixing"]["kind"], *model);
    }
}

#[test]
fn a_model_beside_a_preset_takes_the_place_of_its_family() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let command = format!("train --preset table3/inverse-flow --data glyphs --model snf {SMALL}");
    done(at, &format!("{command} --max-steps 1 --out run"));
    let config = json(&std::fs::read_to_string(at.join("run/config.json")).unwrap());
    assert_eq!(config["model"]["mixing"]["kind"], "snf");
    assert_eq!(config["model"]["coupling"]["net"], "Z");
    assert_eq!(config["train"]["lr"], 1e-5);
}

#[test]
fn what_a_model_cannot_have_is_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    let message = wrong_usage(
        dir.path(),
        "train --model snf --kernel 2 --limit 200 --out a",
    );
    assert!(message.contains("must be odd"), "{message}");
    let message = wrong_usage(dir.path(), "train --model glow --out a");
    for model in MODELS {
        assert!(message.contains(model), "{message}");
    }
    assert!(!dir.path().join("a").exists());
}
