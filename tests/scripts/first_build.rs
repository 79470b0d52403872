//! The first build of a checkout: what kernels are compiled for, and what is compiled while pip works.

use crate::machine::{Machine, REPOSITORY};
use std::fs;
use std::path::Path;

/// A build that makes a program which does nothing, except where libtorch is not there yet.
const CARGO: &str = "case \"$*\" in *--keep-going) exit 1 ;; esac
mkdir -p \"$CARGO_TARGET_DIR/release\"
printf '#!/bin/bash\\n' >\"$CARGO_TARGET_DIR/release/inverse-flow\"
chmod +x \"$CARGO_TARGET_DIR/release/inverse-flow\"";

struct Checkout {
    machine: Machine,
    target: String,
}

impl Checkout {
    /// A machine whose GPUs have these compute capabilities.
    fn with_gpus(capabilities: &str) -> Self {
        let machine = Machine::new();
        machine.program("cargo", CARGO);
        if !capabilities.is_empty() {
            let lines = capabilities.replace(' ', "\\n");
            machine.program("nvidia-smi", &format!("printf '{lines}\\n'"));
        }
        let target = machine.dir.path().join("target").display().to_string();
        Self { machine, target }
    }

    fn run(&self, script: &str, argument: &str, variables: &[(&str, &str)]) -> String {
        let mut all = vec![("CARGO_TARGET_DIR", self.target.as_str())];
        all.extend(variables);
        self.machine.run(script, &[argument], &all).text
    }

    /// What is noted for build.rs.
    fn noted(&self) -> Option<String> {
        fs::read_to_string(self.machine.root().join(".venv/cuda-archs")).ok()
    }
}

#[test]
fn the_first_build_has_kernels_for_the_gpus_that_are_there() {
    for (gpus, expected) in [
        ("", "75"),
        ("9.0 8.0 9.0", "80,90"),
        // the nearest older code of the list serves them
        ("12.1 8.7", "86,120"),
        // too old for any, and what a broken driver prints
        ("7.0", "75"),
        ("NVIDIA-SMI has failed", "75"),
    ] {
        let checkout = Checkout::with_gpus(gpus);
        let text = checkout.run("train.sh", "--help", &[]);
        assert_eq!(
            checkout.noted().as_deref(),
            Some(&*format!("{expected}\n")),
            "{gpus}: {text}"
        );
        let named = format!("sm_{}", expected.replace(',', ", sm_"));
        assert!(
            text.contains(&named) && text.contains("[1/3]") && text.contains("[2/3]"),
            "{text}"
        );
    }
}

#[test]
fn a_choice_that_was_made_stays_until_all_are_asked_for() {
    let checkout = Checkout::with_gpus("9.0");
    checkout.run("train.sh", "--help", &[]);
    checkout.machine.program("nvidia-smi", "echo 8.0");
    checkout.run("train.sh", "--help", &[]);
    assert_eq!(checkout.noted().as_deref(), Some("90\n"));
    checkout.run("test.sh", "test", &[]);
    assert_eq!(checkout.noted().as_deref(), Some("all\n"));
    checkout.run("train.sh", "--help", &[]);
    assert_eq!(checkout.noted().as_deref(), Some("all\n"));
}

#[test]
fn what_is_built_already_or_asked_for_is_not_changed() {
    let built = Checkout::with_gpus("9.0");
    fs::create_dir_all(Path::new(&built.target).join("release")).unwrap();
    fs::write(Path::new(&built.target).join("release/inverse-flow"), "").unwrap();
    built.run("train.sh", "--help", &[]);
    assert_eq!(built.noted(), None, "a build before it had all kernels");

    let asked = Checkout::with_gpus("9.0");
    let text = asked.run("train.sh", "--help", &[("INVERSE_FLOW_CUDA_ARCHS", "80")]);
    assert!(asked.noted().is_none() && text.contains("sm_80;"), "{text}");
    asked.run("test.sh", "test", &[("INVERSE_FLOW_CUDA_ARCHS", "80")]);
    assert_eq!(asked.noted(), None);

    let none = Checkout::with_gpus("9.0");
    let text = none.run("train.sh", "--help", &[("INVERSE_FLOW_CUDA", "0")]);
    assert!(
        none.noted().is_none() && text.contains("without CUDA kernels"),
        "{text}"
    );
}

#[test]
fn scripts_and_build_know_the_same_architectures() {
    let read = |path: &str| fs::read_to_string(Path::new(REPOSITORY).join(path)).unwrap();
    let list = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start).unwrap();
        rest.split(end).next().unwrap().to_owned()
    };
    assert_eq!(
        list(&read("scripts/versions.sh"), "\nCUDA_ARCHS=", "\n"),
        list(
            &read("kernels/compile.rs"),
            "\nconst ARCHS: &str = \"",
            "\""
        )
    );
}

#[test]
fn crates_compile_while_pip_works_and_are_stopped_when_it_has_ended() {
    let started = |variables: &[(&str, &str)]| {
        let machine = Machine::new();
        let log = machine.dir.path().join("cargo.log");
        let cargo = format!(
            "trap 'echo stopped >>{log}; exit 1' TERM\necho \"$*\" >>{log}\nwhile :; do read -rt 0.05 <> <(:); done",
            log = log.display()
        );
        machine.program("cargo", &cargo);
        let mut all = vec![("FAKE_WAIT", log.to_str().unwrap())];
        all.extend(variables);
        let outcome = machine.run("setup.sh", &["--build-ahead"], &all);
        let said = fs::read_to_string(&log).unwrap();
        assert_eq!(said, "build --release --keep-going\nstopped\n");
        (machine, outcome, log)
    };
    let (machine, outcome, log) = started(&[]);
    outcome.succeeds();
    // nothing is left to install, so nothing is compiled
    let again = machine.run("setup.sh", &["--build-ahead"], &[]).succeeds();
    assert_eq!(again.text, "");
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
    // with a libtorch at hand the build would not stop before the program
    fs::remove_file(machine.root().join(".venv/cuda")).unwrap();
    machine.run("setup.sh", &["--build-ahead"], &[]).succeeds();
    assert_eq!(fs::read_to_string(log).unwrap().lines().count(), 2);
    // an installation that fails leaves no compiler running
    let (_, outcome, _) = started(&[("FAKE_PIP_FAILS", "1")]);
    outcome.fails_with(&["pip could not install"]);
}
