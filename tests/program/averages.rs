//! `--ema` and `--no-ema`: which weights are validated, evaluated, sampled and written.

use crate::run::{done, fails, run};
use inverse_flow::train::metrics;
use safetensors::SafeTensors;
use std::path::Path;

const RUN: &str = "train --limit 20 --batch-size 5 --levels 1 --steps 1 --width 4 --device cpu --lr 0.02 --warmup-steps 0 --ema 0.8";

/// Name and bytes of every tensor of the last checkpoint.
fn tensors(run: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(run.join("checkpoints/last.safetensors")).unwrap();
    let mut tensors: Vec<_> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
        .collect();
    tensors.sort();
    tensors
}

/// Bits per dimension of the validation images, as `eval` measures them.
fn bpd(at: &Path, arguments: &str) -> f64 {
    let said = done(
        at,
        &format!("eval {arguments} --split val --limit 20 --device cpu --json"),
    );
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    found["bpd"].as_f64().unwrap()
}

#[test]
fn what_is_validated_is_what_eval_sample_and_convert_take() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 6 --val-every 6 --out run"));
    let records = metrics::read(&at.join("run/metrics.jsonl")).unwrap();
    let validated = records.last().unwrap().bpd.unwrap();
    assert!((bpd(at, "run") - validated).abs() < 1e-6);
    let last = bpd(at, "run --no-ema");
    assert!((last - validated).abs() > 1e-3, "{last} {validated}");
    let output = run(at, "eval run --split val --device cpu");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("averages of training; --no-ema"), "{said}");

    for format in ["safetensors", "pt", "pth", "ot"] {
        let described = match format {
            "ot" => " --config run/config.json",
            _ => "",
        };
        done(at, &format!("convert run one.{format}"));
        let found = bpd(at, &format!("one.{format}{described}"));
        assert!((found - validated).abs() < 1e-4, "{format}: {found}");
        done(at, &format!("convert run two.{format} --no-ema"));
        let found = bpd(at, &format!("two.{format}{described}"));
        assert!((found - last).abs() < 1e-4, "{format}: {found}");
    }
    let said = fails(at, "eval one.pt --no-ema --device cpu", 1);
    assert!(
        said.contains("one.pt") && said.contains("leave --no-ema out"),
        "{said}"
    );

    let picture = |name: &str, arguments: &str| {
        done(
            at,
            &format!("sample run --device cpu --out {name} {arguments}"),
        );
        std::fs::read(at.join(name)).unwrap()
    };
    let averaged = picture("a.png", "--count 4");
    assert_eq!(averaged, picture("b.png", "--count 4"));
    assert_ne!(averaged, picture("c.png", "--count 4 --no-ema"));
    // the pictures of the run are of the averages too
    let grid = picture("d.png", "--count 64 --temperature 0.7 --seed 0");
    assert_eq!(
        grid,
        std::fs::read(at.join("run/samples/epoch-0002.png")).unwrap()
    );
}

#[test]
fn a_run_that_was_stopped_goes_on_with_its_averages_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 7 --out whole"));
    done(at, &format!("{RUN} --max-steps 3 --out halves"));
    done(at, "train --resume halves --max-steps 7");
    let whole = tensors(&at.join("whole"));
    assert!(whole.iter().any(|(name, _)| name.starts_with("ema.")));
    assert_eq!(tensors(&at.join("halves")), whole);

    // they end, and begin again with the weights of that step
    let said = done(at, "train --resume halves --max-steps 8 --ema 0");
    assert!(said.contains("train.ema"), "{said}");
    assert!(!tensors(&at.join("halves"))
        .iter()
        .any(|(name, _)| name.starts_with("ema.")));
    done(at, "train --resume halves --max-steps 9 --ema 0.5");
    assert!(tensors(&at.join("halves"))
        .iter()
        .any(|(name, _)| name.starts_with("ema.")));
    for wrong in ["1", "-0.1", "nan", "2"] {
        let said = fails(
            at,
            &format!("train --ema={wrong} --limit 20 --out other"),
            2,
        );
        assert!(
            said.contains("train.ema") && said.contains("between 0 and 1"),
            "{said}"
        );
    }
}
