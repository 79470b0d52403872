//! `eval`: samples of the noise, round trips in JSON, and numbers that are not finite.

use crate::altered::altered;
use crate::run::{done, fails};
use serde_json::Value;
use std::path::Path;

const SMALL: &str =
    "train --limit 12 --batch-size 6 --levels 2 --steps 1 --width 6 --device cpu --epochs 1 --quiet --out run";

fn json(folder: &Path, arguments: &str) -> Value {
    let text = done(
        folder,
        &format!("eval --json --limit 10 --device cpu {arguments}"),
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn samples_of_the_noise_and_round_trips_are_in_text_and_json() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    let (one, three) = (
        json(at, "run"),
        json(at, "run --dequantize-samples 3 --roundtrip"),
    );
    assert_eq!(one["bpd_bound"], Value::Null);
    assert_eq!(json(at, "run --dequantize-samples 1"), one);
    assert_eq!(three["dequantize_samples"], 3);
    assert!(
        number(&three["nll_nats_bound"]) < number(&three["nll_nats"]),
        "{three}"
    );
    assert!(
        number(&three["bpd_bound"]) < number(&three["bpd"]),
        "{three}"
    );
    for batch_size in [1, 7] {
        let other = json(at, &format!("run --batch-size {batch_size}"));
        let apart = number(&other["bpd"]) / number(&one["bpd"]) - 1.0;
        assert!(apart.abs() < 1e-6, "{other} and {one}");
    }

    let trip = &three["roundtrip"];
    assert_eq!(trip["data"]["largest"], three["roundtrip_max_abs"]);
    for images in ["data", "samples"] {
        let errors = &trip[images];
        assert!(
            number(&errors["median"]) <= number(&errors["largest"]),
            "{trip}"
        );
        assert!(number(&errors["within_half_a_level"]) <= 1.0, "{trip}");
        assert_eq!(errors["not_finite"], 0, "{trip}");
    }
    let text = done(
        at,
        "eval run --limit 10 --device cpu --dequantize-samples 3",
    );
    assert!(
        text.contains("importance-weighted bound of 3 samples"),
        "{text}"
    );

    for wrong in [
        "--dequantize-samples 0",
        "--dequantize midpoint --dequantize-samples 2",
    ] {
        // before anything is read
        let message = fails(at, &format!("eval nowhere {wrong}"), 2);
        assert!(message.contains("--dequantize-samples"), "{message}");
    }
}

#[test]
fn what_is_not_finite_is_named_and_ends_with_1_unless_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, SMALL);
    altered(
        at,
        "levels.0.steps.0.actnorm.loc",
        f64::NAN,
        "damaged.safetensors",
    );
    let message = fails(at, "eval damaged.safetensors --device cpu", 1);
    let expected = "damaged.safetensors: 1 number of the parameters is not finite: `levels.0.steps.0.actnorm.loc` (1 number)";
    assert!(
        message.contains(expected) && message.contains("--allow-non-finite"),
        "{message}"
    );

    let output = crate::run::run(
        at,
        "eval damaged.safetensors --device cpu --json --limit 10 --allow-non-finite --roundtrip",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("levels.0.steps.0.actnorm.loc"),
        "{message}"
    );
    let expected = "the likelihood of 10 of 10 images is not finite (0, 1, 2, 3, 4 and 5 more), from layer `levels.0.steps.0.actnorm` on";
    assert!(message.contains(expected), "{message}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&result["bpd"], &result["nll_nats"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(result["not_finite"]["images"], 10);
    assert_eq!(result["not_finite"]["first"][9], 9);
    assert_eq!(
        result["not_finite"]["place"],
        "from layer `levels.0.steps.0.actnorm` on"
    );
    assert_eq!(result["roundtrip_max_abs"], Value::Null);
    assert_eq!(result["roundtrip"]["data"]["largest"], Value::Null);
    assert_eq!(result["roundtrip"]["data"]["not_finite"], 10);

    // finite parameters, and likelihoods that are not
    altered(
        at,
        "levels.1.steps.0.actnorm.loc",
        1e30,
        "damaged.safetensors",
    );
    let message = fails(at, "eval damaged.safetensors --device cpu --limit 10", 1);
    assert!(
        message.contains("glyphs test: the likelihood of 10 of 10 images is not finite"),
        "{message}"
    );
    let text = done(
        at,
        "eval damaged.safetensors --device cpu --limit 10 --allow-non-finite",
    );
    assert!(
        text.contains("inf nats per image") || text.contains("NaN nats per image"),
        "{text}"
    );
}
