//! Names and shapes of every preset's variables: what files rely on.
//!
//! `tests/golden/variables.txt` has a line for each variable, steps that are alike written as one. After a change on
//! purpose raise the version in src/train/format.rs, and `INVERSE_FLOW_UPDATE_GOLDEN=1` writes the file again.

use inverse_flow::train::{build_model, presets};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use tch::Device;

/// The variables of a preset; the last number of a name that has several is counted, `levels.0.steps.{0..15}.`.
fn variables(preset: &str) -> String {
    let config = presets::by_name(preset).unwrap();
    let (_model, vs) = build_model(&config, Device::Cpu).unwrap();
    let mut alike: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (name, tensor) in vs.variables() {
        assert!(!name.contains("__"), "{preset}: {name}");
        let about = format!("{:?} {:?}", tensor.kind(), tensor.size());
        let parts: Vec<_> = name.split('.').collect();
        // `levels.0.steps.3.`: the step is what repeats
        let at = parts
            .iter()
            .position(|part| *part == "steps")
            .map(|at| at + 1);
        let step = at.and_then(|at| parts[at].parse::<usize>().ok());
        let pattern = parts
            .iter()
            .enumerate()
            .map(|(i, part)| match Some(i) == at {
                true => "*",
                false => *part,
            });
        let pattern = pattern.collect::<Vec<_>>().join(".");
        alike.entry((pattern, about)).or_default().extend(step);
    }
    let mut text = format!("# {preset}\n");
    for ((pattern, about), mut steps) in alike {
        steps.sort_unstable();
        let range = match steps[..] {
            [] => String::new(),
            [first, .., last] if last - first + 1 == steps.len() => format!("{{{first}..{last}}}"),
            _ => format!("{steps:?}").replace(' ', ""),
        };
        writeln!(text, "{} {about}", pattern.replace('*', &range)).unwrap();
    }
    text
}

#[test]
fn names_and_shapes_of_every_preset_are_those_of_the_golden_file() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/variables.txt");
    let got: String = presets::all()
        .iter()
        .map(|preset| variables(&preset.name))
        .collect();
    if std::env::var_os("INVERSE_FLOW_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &got).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (got, golden) in got.lines().zip(golden.lines()) {
        assert_eq!(got, golden);
    }
    assert_eq!(got.lines().count(), golden.lines().count());
}
