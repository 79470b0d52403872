//! What the program says of itself: the help of `train`, the list of presets, completions and manual pages.

use crate::run::done;
use inverse_flow::models::parameter_count;
use inverse_flow::train::{build_model, presets};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tch::Device;

const COMMANDS: [&str; 17] = [
    "train",
    "eval",
    "score",
    "sample",
    "encode",
    "decode",
    "interpolate",
    "reconstruct",
    "inspect",
    "convert",
    "bench",
    "reproduce",
    "plot",
    "data",
    "doctor",
    "completions",
    "man",
];

fn here() -> &'static Path {
    Path::new(".")
}

#[test]
fn the_help_of_train_fits_on_two_screens_and_its_short_form_on_less() {
    let (long, short) = (done(here(), "train --help"), done(here(), "train -h"));
    for (text, most) in [(&long, 88), (&short, 40)] {
        assert!(
            text.lines().count() <= most,
            "{}: {text}",
            text.lines().count()
        );
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{widest:?}: {text}");
    }
    for preset in [
        "quick/inverse-flow",
        "quick/mnist",
        "table3/inverse-flow",
        "table6/inverse-flow",
    ] {
        assert!(long.contains(preset), "{preset}: {long}");
    }
    assert!(!long.contains("table9/"), "the list is elsewhere: {long}");
    for flag in ["--out", "--resume", "--preset", "--max-minutes"] {
        assert!(short.contains(flag) && long.contains(flag), "{flag}");
    }
    assert!(long.contains("--clamp-weights") && !short.contains("--clamp-weights"));
    assert!(short.contains("--help"), "{short}");
}

#[test]
fn the_list_of_presets_has_the_parameters_of_the_models() {
    let listed: Value = serde_json::from_str(&done(here(), "inspect --presets --json")).unwrap();
    let listed = listed["presets"].as_array().unwrap();
    let text = done(here(), "inspect --presets");
    let all = presets::all();
    assert_eq!(listed.len(), all.len());
    for (row, preset) in listed.iter().zip(&all) {
        let name = preset.name.as_str();
        let config = presets::by_name(name).unwrap();
        let (_model, vs) = build_model(&config, Device::Cpu).unwrap();
        let params = parameter_count(&vs);
        assert_eq!(
            (&row["name"], &row["params"]),
            (&name.into(), &params.into())
        );
        assert_eq!(row["data"], config.data.name.to_string());
        assert_eq!(row["minutes"].is_null(), row["machine"].is_null(), "{name}");
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        assert!(line.unwrap().contains(&format!(" {params} ")), "{line:?}");
    }
}

#[test]
fn completions_know_commands_flags_and_presets_and_parse() {
    for (shell, checker) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let script = done(here(), &format!("completions {shell}"));
        for word in COMMANDS
            .iter()
            .chain(&["max-minutes", "table3/snf", "mintnet"])
        {
            assert!(script.contains(word), "{shell} has no {word}");
        }
        let mut parser = match Command::new(checker)
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        {
            Ok(parser) => parser,
            // every machine that builds this has bash; the other shells check where they are installed
            Err(err) => {
                assert_ne!(shell, "bash", "{err}");
                continue;
            }
        };
        parser
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let output = parser.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaint.is_empty(),
            "{shell}: {complaint}"
        );
    }
}

#[test]
fn bash_completes_what_is_typed() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("completions");
    std::fs::write(&script, done(here(), "completions bash")).unwrap();
    let complete = |words: &str| {
        let last = words.split(' ').count() - 1;
        let ask = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={last}; ask=$(complete -p inverse-flow); ask=${{ask#*-F }}; \
             ${{ask%% *}} inverse-flow \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &ask])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("inverse-flow rec"), "reconstruct");
    assert_eq!(complete("inverse-flow train --clamp"), "--clamp-weights");
    assert_eq!(
        complete("inverse-flow train --preset quick/f"),
        "quick/finc"
    );
    assert_eq!(complete("inverse-flow train --model mi"), "mintnet");
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    done(dir.path(), "man man1");
    let read = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    let top = read("inverse-flow.1");
    for command in COMMANDS {
        assert!(
            top.contains(&format!("inverse\\-flow\\-{command}(1)")),
            "{command}: {top}"
        );
        assert!(
            read(&format!("inverse-flow-{command}.1")).starts_with(".ie"),
            "{command}"
        );
    }
    assert!(read("inverse-flow-train.1").contains("max\\-minutes"));
    assert!(read("inverse-flow-bench-op.1").contains("shape"));
    assert!(!read("inverse-flow-reproduce.1").contains("run\\-row"));
}
