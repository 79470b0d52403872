//! Every family from the command line on a GPU: what it computes there is what it computes on the CPU.
//!
//! The differences stand in `target/tmp/devices.md`, a line for each family.

use crate::device::device;
use crate::gpu::gpu;
use crate::run::{done, run};
use crate::skip::skip;
use inverse_flow::models::MODELS;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;
use tch::Device;

/// Few images and steps, and a line in `metrics.jsonl` for each step. Small steps, since Adam's first one has the sign of a
/// gradient even where that is rounding.
const CONFIG: &str = r#"{"train": {"log_every": 1, "batch_size": 3, "samples": 4, "lr": 1e-4}, "data": {"limit": 6}}"#;

/// The largest difference from the CPU that each command shows, and what is allowed.
struct Row {
    model: &'static str,
    /// Losses, and the norm of the first gradient, relative. Later gradients are those of other parameters: Adam divides by
    /// the root of a gradient's square, so that rounding grows where a gradient is near 0.
    train: f64,
    /// The same after a change of the device, to the GPU and back.
    resume: f64,
    /// Parameters after all steps, relative to their length.
    parameters: f64,
    /// Bits per dimension of one checkpoint.
    eval: f64,
    /// Largest error of the round trip on the GPU, as a part of the pixel range.
    round_trip: f64,
    /// Grey levels of 256.
    sample: f64,
    reconstruct: f64,
    /// As `train`, with rebuilt activations.
    rebuild: f64,
}

impl Row {
    const HEAD: &str = "| family | train | resume | parameters | eval | round trip | sample | reconstruct | rebuild |\n\
                        |---|---|---|---|---|---|---|---|---|\n";

    fn line(&self) -> String {
        let Self {
            model,
            train,
            resume,
            parameters,
            eval,
            round_trip,
            sample,
            reconstruct,
            rebuild,
        } = self;
        format!(
            "| {model} | {train:.1e} | {resume:.1e} | {parameters:.1e} | {eval:.1e} | {round_trip:.1e} | {sample} | {reconstruct} | {rebuild:.1e} |\n"
        )
    }

    fn check(&self) {
        for (what, got, allowed) in [
            ("losses and the first gradient", self.train, 1e-4),
            ("those of a run that goes on elsewhere", self.resume, 1e-5),
            // where a gradient is all but 0, Adam makes a step of its rounding
            ("parameters", self.parameters, 2e-4),
            ("bits per dimension", self.eval, 1e-5),
            ("round trip", self.round_trip, 1e-3),
            ("grey levels of a sample", self.sample, 1.0),
            ("grey levels of a reconstruction", self.reconstruct, 0.0),
            ("those with rebuilt activations", self.rebuild, 1e-4),
        ] {
            // written so that a NaN fails
            assert!(
                got <= allowed,
                "{}: {what} differ by {got:e}, allowed {allowed:e}",
                self.model
            );
        }
    }
}

#[test]
fn cuda_every_family_computes_what_the_cpu_computes() {
    if gpu("cuda_every_family_computes_what_the_cpu_computes").is_none() {
        return;
    }
    let left = Mutex::new(MODELS.to_vec());
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(model) = {
                    let next = left.lock().unwrap().pop();
                    next
                } {
                    let row = family(model);
                    rows.lock().unwrap().push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|row| MODELS.iter().position(|model| *model == row.model));
    let table: String = rows.iter().map(Row::line).collect();
    let table = format!("{}{table}", Row::HEAD);
    println!("{table}");
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/devices.md"), table).unwrap();
    for row in &rows {
        row.check();
    }
}

/// Loss, norm of the gradient, or nothing, of every line about training.
fn training_lines(run: &Path) -> Vec<(u64, [f64; 2])> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["split"] == "train" && line["changes"].is_null())
        .map(|line| {
            let numbers = ["nll_nats", "grad_norm"].map(|key| line[key].as_f64().unwrap());
            (line["step"].as_u64().unwrap(), numbers)
        })
        .collect()
}

/// Steps are read every fourth time, and the run is stopped where one is not: nothing changes but the lines, which are
/// means. Images are changed at random, and uploaded in one of the runs.
#[test]
fn cuda_a_run_that_is_read_less_often_is_the_same_run() {
    let test = "cuda_a_run_that_is_read_less_often_is_the_same_run";
    if gpu(test).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    if !is_emulated(at) {
        return skip(test, "libtorch's sums on a card differ from run to run");
    }
    let gpu = &gpu_name();
    for (name, log_every, mib) in [("each", 1, 1), ("few", 4, 1), ("uploaded", 4, 0)] {
        let config = format!(
            r#"{{"train": {{"log_every": {log_every}, "batch_size": 3, "samples": 0, "device_data_mib": {mib}}},
                "data": {{"limit": 24, "augment": true}}}}"#
        );
        std::fs::write(at.join("config.json"), config).unwrap();
        let start = "train --preset quick/inverse-flow --config config.json --max-steps";
        match name {
            // 8 batches an epoch: the third step is in the middle of the first one
            "few" => {
                done(at, &format!("{start} 3 --device {gpu} --out {name}"));
                done(at, &format!("train --resume {name} --max-steps 10"));
            }
            _ => drop(done(at, &format!("{start} 10 --device {gpu} --out {name}"))),
        }
    }
    let each = training_lines(&at.join("each"));
    assert_eq!(each.len(), 10);
    let means = |ends: &[usize]| -> Vec<(u64, [f64; 2])> {
        let mut start = 0;
        let mean = |&end: &usize| {
            let steps = &each[std::mem::replace(&mut start, end)..end];
            let mean = |i: usize| {
                steps.iter().map(|(_, numbers)| numbers[i]).sum::<f64>() / steps.len() as f64
            };
            (end as u64, [mean(0), mean(1)])
        };
        ends.iter().map(mean).collect()
    };
    // a session and an epoch end with a line
    assert_eq!(training_lines(&at.join("few")), means(&[3, 4, 8, 10]));
    assert_eq!(training_lines(&at.join("uploaded")), means(&[4, 8, 10]));
    for other in ["few", "uploaded"] {
        let file = |run: &str| {
            let bytes = std::fs::read(at.join(run).join("checkpoints/last.safetensors")).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let mut tensors: Vec<_> = tensors
                .iter()
                .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
                .collect();
            tensors.sort();
            tensors
        };
        assert!(file("each") == file(other), "{other}");
    }
}

/// Whether the GPU is the one of the tests.
fn is_emulated(at: &Path) -> bool {
    String::from_utf8_lossy(&run(at, "doctor --json").stdout).contains("Emulated GPU")
}

/// The name of the GPU on the command line.
pub fn gpu_name() -> String {
    match device() {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => panic!("{other:?} is no GPU"),
    }
}

fn family(model: &'static str) -> Row {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let gpu = &gpu_name();
    std::fs::write(at.join("config.json"), CONFIG).unwrap();
    let train = |out: &str, device: &str, more: &str| {
        let size = match model {
            "mintnet" => "--steps 4", // it has no coupling nets
            _ => "--steps 4 --width 32",
        };
        let start =
            format!("train --preset quick/{model} --config config.json {size} --max-steps 2");
        done(at, &format!("{start} --device {device} --out {out} {more}"));
    };
    train("cpu", "cpu", "");
    train("gpu", gpu, "");
    train("rebuilt", gpu, "--rebuild-activations");
    let trained = measured_difference(at, "cpu", "gpu", 1);
    let rebuild = measured_difference(at, "cpu", "rebuilt", 1);

    // each run goes on where it was, and a copy of it on the other device
    let goes_on = |run: &str, device: &str| {
        let command = format!("train --resume {run} --max-steps 4 --device {device}");
        done(at, &command);
    };
    for (run, here, there) in [("cpu", "cpu", gpu.as_str()), ("gpu", gpu, "cpu")] {
        let elsewhere = format!("{run}-elsewhere");
        copy_run(&at.join(run), &at.join(&elsewhere));
        goes_on(run, here);
        goes_on(&elsewhere, there);
    }
    let pairs = [("cpu", "cpu-elsewhere"), ("gpu", "gpu-elsewhere")];
    let resume = pairs.map(|(here, elsewhere)| measured_difference(at, here, elsewhere, 3));
    let parameters = pairs.map(|(here, elsewhere)| parameter_difference(at, here, elsewhere));

    let evaluate = |device: &str| -> [f64; 2] {
        let text = done(
            at,
            &format!("eval cpu --limit 6 --json --roundtrip --device {device}"),
        );
        let result: Value = serde_json::from_str(&text).unwrap();
        ["bpd", "roundtrip_max_abs"].map(|key| result[key].as_f64().unwrap())
    };
    let ([expected, _], [bpd, round_trip]) = (evaluate("cpu"), evaluate(gpu));
    let picture = |command: &str| {
        let [a, b] = [("a.png", "cpu"), ("b.png", gpu)].map(|(file, device)| {
            done(at, &format!("{command} --out {file} --device {device}"));
            image::open(at.join(file)).unwrap().into_rgb8()
        });
        let levels = a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b));
        assert_eq!(a.dimensions(), b.dimensions());
        f64::from(levels.max().unwrap())
    };
    Row {
        model,
        train: trained,
        resume: largest(resume),
        parameters: largest(parameters),
        eval: (bpd - expected).abs(),
        round_trip,
        sample: picture("sample cpu --count 4"),
        reconstruct: picture("reconstruct cpu --count 4"),
        rebuild,
    }
}

/// The largest number; NaN if one is.
fn largest(numbers: impl IntoIterator<Item = f64>) -> f64 {
    numbers
        .into_iter()
        .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

fn copy_run(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("checkpoints")).unwrap();
    for file in [
        "config.json",
        "metrics.jsonl",
        "checkpoints/last.safetensors",
    ] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// The largest relative difference of the losses of two runs, and of the norms of their gradients in step `first`.
fn measured_difference(at: &Path, a: &str, b: &str, first: u64) -> f64 {
    let [a, b] = [a, b].map(|run| {
        let text = std::fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            // what was changed when a run went on is no measurement
            .filter(|line| line["changes"].is_null());
        lines.collect::<Vec<_>>()
    });
    assert_eq!(a.len(), b.len());
    largest(a.iter().zip(&b).flat_map(|(a, b)| {
        assert_eq!(
            (&a["step"], &a["split"], &a["skipped"]),
            (&b["step"], &b["split"], &b["skipped"])
        );
        let keys = match (&a["split"], &a["step"]) {
            (split, step) if split == "train" && *step == first => &["nll_nats", "grad_norm"][..],
            _ => &["nll_nats"],
        };
        let difference = |key: &&str| {
            // a family that trains without its log-dets calls its loss so
            let without = format!("{key}_without_log_dets");
            let number = |line: &Value| line[*key].as_f64().or(line[&without].as_f64());
            let [a, b] = [a, b].map(|line| number(line).unwrap());
            (a - b).abs() / a.abs()
        };
        keys.iter().map(difference).collect::<Vec<_>>()
    }))
}

/// How far apart the parameters of two runs are, root of the mean square over root of the mean square.
fn parameter_difference(at: &Path, a: &str, b: &str) -> f64 {
    let [a, b] =
        [a, b].map(|run| std::fs::read(at.join(run).join("checkpoints/last.safetensors")).unwrap());
    let [a, b] = [&a, &b].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    let (mut difference, mut size) = (0.0, 0.0);
    let floats = |bytes: &[u8]| -> Vec<f64> {
        bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect()
    };
    assert_eq!(a.len(), b.len());
    for (name, a) in a.iter() {
        let b = b.tensor(name).unwrap();
        assert_eq!((a.shape(), a.dtype()), (b.shape(), b.dtype()), "{name}");
        if a.dtype() != safetensors::Dtype::F32 || name.starts_with("optim.") {
            continue;
        }
        for (a, b) in floats(a.data()).into_iter().zip(floats(b.data())) {
            difference += (a - b).powi(2);
            size += a.powi(2);
        }
    }
    (difference / size).sqrt()
}
