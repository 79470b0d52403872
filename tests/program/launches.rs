//! What a training step, a forward pass and sampling ask of a GPU: the counts of `launches.json`, neither more nor fewer.
//!
//! A real GPU does not count. To write the file again after a change that is meant to change it:
//!
//! ```sh
//! LAUNCHES=write scripts/emulated_gpu.sh cargo test --release --test program launches
//! ```

use crate::devices::gpu_name;
use crate::gpu::gpu;
use crate::skip::skip;
use serde_json::{json, Map, Value};
use std::path::Path;
use std::process::Command;

/// The two networks whose depth the counts are made for, and every family's own layers on the smallest.
const PRESETS: [&str; 11] = [
    "table3/inverse-flow",
    "table6/inverse-flow",
    "quick/inverse-flow",
    "quick/snf",
    "quick/emerging",
    "quick/finc",
    "quick/cinc",
    "quick/woodbury",
    "quick/butterfly",
    "quick/macow",
    "quick/mintnet",
];

fn counted(preset: &str, narrow: &Path) -> Option<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inverse-flow"));
    command
        .args([
            "bench",
            "model",
            "--preset",
            preset,
            "--device",
            &gpu_name(),
        ])
        .args(["--batch", "2", "--samples", "1", "--threads", "1", "--json"]);
    if preset.starts_with("table") {
        command.arg("--config").arg(narrow);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{preset}: {output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = report["counts"].as_object()?;
    let fields = |counts: &Value| json!({"launches": counts["launches"], "waits": counts["waits"]});
    let counts = counts
        .iter()
        .map(|(what, counts)| (what.clone(), fields(counts)));
    Some(counts.collect::<Map<_, _>>().into())
}

#[test]
fn cuda_a_step_makes_as_many_launches_as_are_written_down() {
    const TEST: &str = "cuda_a_step_makes_as_many_launches_as_are_written_down";
    if gpu(TEST).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let narrow = dir.path().join("narrow.json");
    std::fs::write(&narrow, r#"{"model": {"coupling": {"width": 8}}}"#).unwrap();
    // two at a time: each runs on one thread
    let halves = PRESETS.split_at(PRESETS.len() / 2);
    let of = |presets: &[&'static str]| -> Vec<Option<Value>> {
        presets
            .iter()
            .map(|preset| counted(preset, &narrow))
            .collect()
    };
    let counts = std::thread::scope(|scope| {
        let first = scope.spawn(|| of(halves.0));
        let second = of(halves.1);
        [first.join().unwrap(), second].concat()
    });
    let Some(counts) = counts.into_iter().collect::<Option<Vec<_>>>() else {
        return skip(TEST, "the driver of this GPU does not count");
    };
    let names = PRESETS.iter().map(|preset| (*preset).to_owned());
    let counted = Value::from(names.zip(counts).collect::<Map<_, _>>());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/launches.json");
    let text = format!("{counted:#}\n");
    if std::env::var("LAUNCHES").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        written,
        "the counts now, and those of {}",
        path.display()
    );
}
