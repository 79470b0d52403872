//! `inverse-flow doctor` and `inverse-flow data` as a user runs them.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn program(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inverse-flow"));
    command
        .args(args)
        .env_remove("INVERSE_FLOW_DATA")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn json_holds_every_finding_with_a_verdict_and_a_way_out() {
    let data = tempfile::tempdir().unwrap();
    let output = program(&[
        "doctor",
        "--json",
        "--data-dir",
        data.path().to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let names: Vec<_> = findings
        .iter()
        .map(|finding| finding["name"].as_str().unwrap())
        .collect();
    let expected = [
        "system",
        "cpu",
        "memory",
        "disk",
        "libtorch",
        "library paths",
        "NVIDIA driver",
        "GPUs",
        "libtorch CUDA",
        "float32 on GPUs",
        "CUDA kernels",
        "nvcc",
        "torchrun",
        "Gloo",
        "NCCL",
        "processes",
        "data: glyphs",
        "data: mnist",
        "data: cifar10",
    ];
    assert_eq!(names, expected);
    for finding in findings {
        assert!(!finding["found"].as_str().unwrap().is_empty(), "{finding}");
        let verdict = finding["verdict"].as_str().unwrap();
        assert!(["ok", "warn"].contains(&verdict), "{finding}");
        assert_eq!(finding["fix"].is_null(), verdict == "ok", "{finding}");
    }
    let finding = |name: &str| &findings[names.iter().position(|found| *found == name).unwrap()];
    assert!(finding("libtorch")["found"]
        .as_str()
        .unwrap()
        .starts_with("2.11.0"));
    // the tests run without torchrun, and this program is built with what is beside its libtorch
    assert_eq!(finding("processes")["found"], "this one alone");
    assert_eq!(finding("Gloo")["verdict"], "ok");
    assert!(finding("data: mnist")["found"]
        .as_str()
        .unwrap()
        .starts_with("not in "));
    // set where the program starts, whether there is a GPU or not
    assert!(finding("float32 on GPUs")["found"]
        .as_str()
        .unwrap()
        .starts_with("ieee: no TF32"));
    // the data sets are not there, so the best verdict is a warning, and a warning is no failure
    assert_eq!(report["verdict"], "warn");
}

#[test]
fn without_a_card_the_cause_is_named_and_text_has_no_colour_in_a_pipe() {
    let output = program(&["doctor"]);
    let out = text(&output.stdout);
    assert!(output.status.success() && !out.contains('\x1b'), "{out}");
    if !Path::new("/dev/nvidia0").exists() {
        let line = out
            .lines()
            .find(|line| line.contains("NVIDIA driver"))
            .unwrap();
        assert!(
            line.starts_with("warn") && line.contains("libcuda.so.1"),
            "{line}"
        );
    }
}

#[test]
fn verify_names_every_missing_file() {
    let data = tempfile::tempdir().unwrap();
    for (name, files) in [("mnist", 4), ("cifar10", 6)] {
        let output = program(&[
            "data",
            "verify",
            name,
            "--data-dir",
            data.path().to_str().unwrap(),
        ]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            text(&output.stdout).lines().count(),
            files,
            "{}",
            text(&output.stdout)
        );
        assert!(
            text(&output.stderr).contains("error: "),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(
        program(&["data", "verify", "imagenet"]).status.code(),
        Some(2)
    );
}

fn fetch(name: &str, variable: &str, from: &Path, data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inverse-flow"));
    command
        .args(["data", "fetch", name, "--data-dir"])
        .arg(data);
    command
        .env(variable, format!("file://{}", from.display()))
        .output()
        .unwrap()
}

#[test]
fn a_failed_download_says_what_to_place_where() {
    let data = tempfile::tempdir().unwrap();
    let cases = [
        (
            "mnist",
            "INVERSE_FLOW_MNIST_URL",
            "train-images-idx3-ubyte.gz",
        ),
        (
            "cifar10",
            "INVERSE_FLOW_CIFAR10_URL",
            "cifar-10-binary.tar.gz",
        ),
    ];
    for (name, variable, file) in cases {
        let output = fetch(name, variable, Path::new("/nowhere"), data.path());
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(
            err.contains("error: curl failed") && err.contains("by hand") && err.contains(file),
            "{err}"
        );
    }
}

#[test]
fn fetched_archives_are_unpacked_and_checked_afterwards() {
    let (mirror, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = mirror.path().join("cifar-10-batches-bin");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("test_batch.bin"), b"too short").unwrap();
    let archive = mirror.path().join("cifar-10-binary.tar.gz");
    let tar = Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(mirror.path())
        .arg("cifar-10-batches-bin")
        .status();
    assert!(tar.unwrap().success());
    let output = fetch(
        "cifar10",
        "INVERSE_FLOW_CIFAR10_URL",
        mirror.path(),
        data.path(),
    );
    // what came is not the published data set, and that is said
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("test_batch.bin"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(
        fs::read(data.path().join("cifar-10-batches-bin/test_batch.bin")).unwrap(),
        b"too short"
    );
    let left: Vec<_> = fs::read_dir(data.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        left,
        ["cifar-10-batches-bin"],
        "neither the archive nor a part of it stays"
    );
}

#[test]
fn an_unknown_instruction_set_is_a_finding_with_a_way_out() {
    let output = Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .arg("doctor")
        .env("INVERSE_FLOW_SIMD", "sse9")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(
        out.contains("INVERSE_FLOW_SIMD=sse9: this machine has"),
        "{out}"
    );
    assert!(out.contains("→ unset INVERSE_FLOW_SIMD"), "{out}");
}
