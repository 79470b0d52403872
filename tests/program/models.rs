//! Every flow family from the command line: trained, evaluated, sampled, reconstructed.

use crate::run::{done, fails};
use inverse_flow::models::MODELS;
use serde_json::Value;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

const SMALL: &str = "--limit 30 --batch-size 10 --levels 2 --steps 2 --width 6 --epochs 2";

/// `SMALL` without what the network of `model` has no place for.
fn size(model: &str) -> String {
    let without = match model {
        "macow" => "--levels 2",
        "mintnet" => "--width 6",
        _ => "",
    };
    SMALL.replace(without, "")
}

/// Trains a model in the folder `name`, then evaluates, samples and reconstructs with it, and returns what `inspect`
/// says.
fn live(at: &Path, name: &str, arguments: &str) -> Value {
    done(at, &format!("train {arguments} --device cpu --out {name}"));
    let command = format!("eval {name} --json --limit 20 --roundtrip --device cpu");
    let result = json(&done(at, &command));
    assert!(result["bpd"].as_f64().unwrap().is_finite());
    let error = result["roundtrip_max_abs"].as_f64().unwrap();
    assert!(error < 1e-3, "{name}: {result}");

    done(at, &format!("sample {name} --count 5 --out {name}.png"));
    assert!(is_png(&at.join(format!("{name}.png"))));
    let text = done(at, &format!("reconstruct {name} --count 6 --out pairs.png"));
    assert!(text.contains(" 0 of 4704 8-bit pixels"), "{name}: {text}");

    let inspected = json(&done(at, &format!("inspect {name} --json")));
    let layers = inspected["layers"].as_array().unwrap().iter();
    let sum: u64 = layers.map(|layer| layer["params"].as_u64().unwrap()).sum();
    assert_eq!(inspected["params"].as_u64().unwrap(), sum, "{name}");
    assert_eq!(inspected["model"], result["model"]);
    inspected
}

#[test]
fn every_model_trains_evaluates_samples_and_reconstructs() {
    let dir = tempfile::tempdir().unwrap();
    for model in MODELS {
        let arguments = format!("--model {model} {}", size(model));
        let inspected = live(dir.path(), model, &arguments);
        assert_eq!(inspected["model"], *model);
        let config = &inspected["config"];
        assert_eq!(config["preset"], format!("quick/{model}"));
        let model_config = &config["model"];
        let of_its_own = ["woodbury", "butterfly", "macow", "mintnet"].contains(model);
        let (key, value) = match of_its_own {
            true => (&model_config["architecture"], *model),
            false => (&model_config["mixing"]["kind"], *model),
        };
        assert_eq!(key, value);
    }
}

#[test]
fn the_layers_of_published_networks_stand_in_the_common_backbone_too() {
    let dir = tempfile::tempdir().unwrap();
    for model in ["woodbury", "butterfly", "macow"] {
        let arguments = format!("--preset quick/inverse-flow --model {model} {SMALL}");
        let inspected = live(dir.path(), model, &arguments);
        assert_eq!(inspected["config"]["model"]["mixing"]["kind"], model);
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
    let message = fails(
        dir.path(),
        "train --model snf --kernel 2 --limit 200 --out a",
        2,
    );
    assert!(message.contains("must be odd"), "{message}");
    for (arguments, part) in [
        ("--model macow --levels 2", "set `internal`"),
        ("--model mintnet --width 8", "no coupling nets"),
        ("--model woodbury --kernel 3", "no filters"),
        (
            "--preset quick/inverse-flow --model macow --kernel 3",
            "leave `kernel` out",
        ),
        ("--preset quick/snf --model mintnet", "preset quick/mintnet"),
        ("--preset table6/mintnet --model snf", "preset quick/snf"),
        ("--preset table6/macow --data glyphs", "no bottom block"),
        ("--model woodbury --levels 3", "use fewer levels"),
    ] {
        let command = format!("train {arguments} --limit 200 --out a");
        let message = fails(dir.path(), &command, 2);
        assert!(message.contains(part), "{arguments}: {message}");
    }
    let message = fails(dir.path(), "train --model glow --out a", 2);
    for model in MODELS {
        assert!(message.contains(model), "{message}");
    }
    assert!(!dir.path().join("a").exists());
}
