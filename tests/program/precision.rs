//! The precision of nets on the command line: it is part of a run, and every command says when it uses another.

use crate::run::{done, fails, run};
use inverse_flow::nn::Precision;
use inverse_flow::train::Checkpoint;
use serde_json::Value;
use std::path::Path;

const RUN: &str =
    "train --limit 12 --batch-size 4 --levels 2 --steps 1 --width 6 --lr 0.003 --epochs 2 \
                   --warmup-steps 2 --device cpu --out";

fn precision_of(folder: &Path, run: &str) -> (Value, Precision) {
    let text = std::fs::read_to_string(folder.join(run).join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let last = folder.join(run).join("checkpoints/last.safetensors");
    let checkpoint = Checkpoint::open(&last).unwrap();
    (config["precision"].clone(), checkpoint.config.precision)
}

fn eval(folder: &Path, arguments: &str) -> Value {
    let text = done(
        folder,
        &format!("eval --device cpu --limit 8 --json {arguments}"),
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_run_keeps_its_precision_and_another_one_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for precision in ["float32", "bfloat16"] {
        done(at, &format!("{RUN} {precision} --precision {precision}"));
        let expected: Precision = precision.parse().unwrap();
        assert_eq!(precision_of(at, precision), (precision.into(), expected));
    }
    done(at, &format!("{RUN} default"));
    assert_eq!(precision_of(at, "default").1, Precision::Float32);

    let trained = eval(at, "bfloat16");
    assert_eq!(trained["precision"], "bfloat16");
    assert_eq!(trained["trained_in"], "bfloat16");
    assert_eq!(eval(at, "bfloat16 --precision bfloat16"), trained);
    let other = eval(at, "bfloat16 --precision float32");
    assert_eq!(other["precision"], "float32");
    assert_eq!(other["trained_in"], "bfloat16");
    let apart =
        |a: &Value, b: &Value| (a["bpd"].as_f64().unwrap() - b["bpd"].as_f64().unwrap()).abs();
    let difference = apart(&trained, &other);
    assert!((1e-7..1e-2).contains(&difference), "{difference}");

    let other = "nets in float32 instead of bfloat16, which they were trained in: another density";
    for command in [
        "eval --limit 4",
        "sample --count 2 --out a.png",
        "reconstruct --count 2 --out a.png",
    ] {
        let command = format!("{command} --device cpu bfloat16");
        let text = done(at, &command);
        assert!(
            text.contains("nets in bfloat16, as in training\n"),
            "{text}"
        );
        let text = done(at, &format!("{command} --precision float32"));
        assert!(text.contains(other), "{text}");
    }
    let text = done(at, "eval --limit 4 --device cpu float32");
    assert!(!text.contains("nets in"), "{text}");
}

#[test]
fn a_resumed_run_goes_on_in_its_precision_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} whole --precision bfloat16"));
    done(
        at,
        &format!("{RUN} parts --precision bfloat16 --max-steps 2"),
    );
    done(at, "train --resume parts --max-steps 99");
    assert_eq!(precision_of(at, "parts").1, Precision::BFloat16);
    let content = |run: &str| {
        let bytes = std::fs::read(at.join(run).join("checkpoints/last.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let all = tensors.iter();
        let mut all: Vec<_> = all
            .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
            .collect();
        all.sort();
        all
    };
    assert!(content("parts") == content("whole"));
    // another one goes on with the same parameters
    done(
        at,
        "train --resume parts --precision float32 --epochs 99 --max-steps 100",
    );
    assert_eq!(precision_of(at, "parts").1, Precision::Float32);
}

#[test]
fn what_has_no_such_precision_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for precision in ["tf32", "bfloat16"] {
        let command =
            format!("train --model mintnet --limit 4 --device cpu --out m --precision {precision}");
        let message = fails(at, &command, 2);
        let reason = format!("log-det is of, which {precision} is too coarse for");
        assert!(message.contains(&reason), "{message}");
        assert!(!at.join("m").exists(), "nothing was begun");
    }
    let message = fails(at, &format!("{RUN} x --precision half"), 2);
    assert!(
        message.contains("choose float32, tf32 or bfloat16"),
        "{message}"
    );

    // on a CPU, tf32 is float32 and says so
    let output = run(at, &format!("{RUN} tf32 --precision tf32"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("precision tf32: tf32 is a format of GPUs"),
        "{text}"
    );
    let [as_trained, float32] = ["tf32", "tf32 --precision float32"].map(|run| eval(at, run));
    assert_eq!(as_trained["precision"], "tf32");
    assert_eq!(as_trained["bpd"], float32["bpd"]);

    let message = fails(at, "convert tf32 model.pt", 2);
    assert!(message.contains("convert --precision float32"), "{message}");
    let text = done(at, "convert tf32 model.pt --precision float32");
    assert!(text.contains("nets in float32 instead of tf32"), "{text}");
    assert!(eval(at, "model.pt")["trained_in"].is_null());
}
