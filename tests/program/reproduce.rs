//! `inverse-flow reproduce` as a user meets it: a row from its first step to the report, stopped and called again.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn reproduce(out: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(["reproduce", "table3", "--device", "cpu", "--threads", "1"])
        // no data there: the built-in digits stand in
        .args(["--data-dir", "/nonexistent", "--out"])
        .arg(out)
        .args(args)
        .output()
        .unwrap()
}

fn succeeds(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["row"] == name).unwrap()
}

/// The names of all elements in order, after a check that they are properly nested and attributes quoted.
fn elements(xml: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        for (at, _) in text.match_indices('&') {
            let end = text[at..].find(';').expect("an entity ends");
            let name = &text[at + 1..at + end];
            assert!(
                ["amp", "lt", "gt", "quot", "apos"].contains(&name),
                "&{name};"
            );
        }
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with(['!', '?']) {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "nesting");
            continue;
        }
        let body = tag.strip_suffix('/').unwrap_or(tag);
        let name = body.split_whitespace().next().unwrap().to_owned();
        assert_eq!(body.matches('"').count() % 2, 0, "quotes of <{tag}>");
        all.push(name.clone());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    all
}

#[test]
fn a_row_is_stopped_goes_on_runs_once_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("table3");
    let one = ["--row", "inverse-flow"];

    // no time at all: nothing runs, and the report says so
    let text = succeeds(&reproduce(
        &out,
        &[&one[..], &["--max-minutes", "0"]].concat(),
    ));
    assert!(text.contains("the same command goes on"), "{text}");
    let report = json(&out.join("report.json"));
    assert_eq!(row(&report, "inverse-flow")["status"], "not run");

    // too little time: whatever was begun can go on
    succeeds(&reproduce(
        &out,
        &[&one[..], &["--max-minutes", "0.02"]].concat(),
    ));
    let report = json(&out.join("report.json"));
    assert_ne!(row(&report, "inverse-flow")["status"], "failed");

    succeeds(&reproduce(&out, &one));
    let report = json(&out.join("report.json"));
    assert_eq!(report["table"], "table3");
    for key in ["hardware", "commit"] {
        assert!(!report[key].as_str().unwrap().is_empty(), "{key}");
    }
    let done = row(&report, "inverse-flow");
    assert_eq!(done["status"], "done");
    assert_eq!(done["preset"], "table3/inverse-flow");
    let cells = &done["cells"];
    assert_eq!(cells["params_m"]["measured"], 1.640968);
    assert_eq!(cells["params_m"]["verdict"], "agrees");
    assert_eq!(cells["bpd"]["paper"], 1.31);
    assert_eq!(cells["bpd"]["verdict"], "not comparable");
    assert!(cells["bpd"]["basis"].as_str().unwrap().contains("glyphs"));
    assert_eq!(cells["st_ms"]["verdict"], "smoke");
    for key in [
        "bpd",
        "nll_nats",
        "st_ms",
        "ft_ms",
        "memory_gb",
        "sample_1_ms",
        "sample_100_ms",
        "forward_ms",
        "step_ms",
    ] {
        assert!(cells[key]["measured"].as_f64().unwrap() > 0.0, "{key}");
    }
    let state = json(&out.join("rows/inverse-flow/state.json"));
    assert_eq!(state["seeds"][0]["steps"], 2);
    assert_eq!(state["clamp"], Value::Null);
    let other = row(&report, "snf-harness-wide");
    assert_eq!(other["status"], "not run");
    assert_eq!(other["cells"]["bpd"]["verdict"], "not run");

    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    for text in [
        "not run",
        "1.205 for FInC Flow",
        "clamp of the weights: off",
        "glyphs stand in",
    ] {
        assert!(markdown.contains(text), "{text} in {markdown}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    let names = elements(&page);
    assert!(
        names.iter().filter(|name| *name == "svg").count() >= 3,
        "{names:?}"
    );
    assert!(names.iter().any(|name| name == "img"));
    assert!(!page.contains("src=\"http") && !page.contains("<link"));
    for file in [
        "bpd-sampling.svg",
        "loss-faithful-step.svg",
        "loss-faithful-time.svg",
    ] {
        let svg = std::fs::read_to_string(out.join("plots").join(file)).unwrap();
        assert_eq!(elements(&svg)[0], "svg");
        assert!(out.join("plots").join(file).with_extension("png").exists());
    }
    assert!(out.join("plots/samples-inverse-flow.png").exists());

    // done is done: the same command leaves the row alone
    let before = std::fs::metadata(out.join("rows/inverse-flow/state.json")).unwrap();
    let text = succeeds(&reproduce(&out, &one));
    assert!(!text.contains("1 of 1"), "{text}");
    let after = std::fs::metadata(out.join("rows/inverse-flow/state.json")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());

    // and another plan is not mixed with it
    let other = reproduce(&out, &["--row", "snf", "--clamp"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("choose another --out"));
}

/// Marks the environment of a pass, so that it is seen whether it is kept.
fn mark(state: &Path, pass: &str) {
    let mut value = json(state);
    assert_eq!(value["passes"][pass].as_array().unwrap().len(), 1);
    value["passes"][pass][0]["commit"] = format!("marked {pass}").into();
    std::fs::write(state, value.to_string()).unwrap();
}

#[test]
fn the_passes_of_a_row_are_measured_one_after_the_other_in_either_order() {
    let dir = tempfile::tempdir().unwrap();
    for [first, second] in [["times", "likelihood"], ["likelihood", "times"]] {
        let out = dir.path().join(first);
        let only = |pass| ["--row", "inverse-flow", "--only", pass];
        succeeds(&reproduce(&out, &only(first)));
        let report = json(&out.join("report.json"));
        let half = row(&report, "inverse-flow");
        assert_eq!(half["status"], "one pass");
        let (there, missing) = match first {
            "times" => ("st_ms", "bpd"),
            _ => ("bpd", "st_ms"),
        };
        assert!(half["cells"][there]["measured"].as_f64().unwrap() > 0.0);
        assert_eq!(half["cells"][there]["pass"], first);
        assert_eq!(half["cells"][missing]["verdict"], "not measured");
        assert_eq!(half["cells"]["params_m"]["measured"], 1.640968);
        let state = out.join("rows/inverse-flow/state.json");
        let trained = out.join("rows/inverse-flow/seed-0").exists();
        assert_eq!(trained, first == "likelihood");
        mark(&state, first);

        // what is there is not measured again
        let text = succeeds(&reproduce(&out, &only(first)));
        assert!(!text.contains("1 of 1"), "{text}");

        succeeds(&reproduce(&out, &only(second)));
        let report = json(&out.join("report.json"));
        let whole = row(&report, "inverse-flow");
        assert_eq!(whole["status"], "done");
        for (key, pass) in [
            ("bpd", "likelihood"),
            ("st_ms", "times"),
            ("step_ms", "times"),
        ] {
            assert!(whole["cells"][key]["measured"].as_f64().unwrap() > 0.0);
            assert_eq!(whole["cells"][key]["pass"], pass);
        }
        let passes = &json(&state)["passes"];
        assert_eq!(passes[first][0]["commit"], format!("marked {first}"));
        assert_eq!(passes[second].as_array().unwrap().len(), 1);
        assert_ne!(passes[second][0]["commit"], format!("marked {first}"));
        let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
        let line = format!("| inverse-flow | {first} | marked {first} |");
        assert!(markdown.contains(&line), "{markdown}");
        // the times of a model that was not there yet are those of another one
        let fresh = markdown.contains("freshly initialised model");
        assert_eq!(fresh, first == "times");
    }
}

#[test]
fn wrong_usage_is_answered_with_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (&["--row", "glow"][..], "mintnet"),
        (&["--row", "glow"][..], "harness-wide"),
        (&["--only", "speed"][..], "choose likelihood or times"),
        (&["--budget", "tiny"][..], "short-cpu"),
        (&["--budget", "steps"][..], "--steps-per-row N"),
        (&["--steps-per-row", "9"][..], "for --budget steps"),
        (
            &["--budget", "steps", "--steps-per-row", "0"][..],
            "steps-per-row",
        ),
        (
            &[
                "--budget",
                "steps",
                "--steps-per-row",
                "9",
                "--minutes-per-row",
                "1",
            ][..],
            "--minutes-per-row",
        ),
    ] {
        let output = reproduce(&dir.path().join("x"), args);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(expected), "{text}");
    }
    assert!(!dir.path().join("x").exists());
}

#[test]
fn a_build_during_the_run_does_not_change_the_program_of_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (program, out) = (dir.path().join("program"), dir.path().join("out"));
    std::fs::copy(env!("CARGO_BIN_EXE_inverse-flow"), &program).unwrap();
    let run = Command::new(&program)
        .args(["reproduce", "table10", "--row", "2", "--row", "3"])
        .args(["--device", "cpu", "--threads", "1"])
        .args(["--data-dir", "/nonexistent", "--out"])
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !out.join("plan.json").exists() {
        // no measurement: it only ends a test whose run never gets there
        assert!(began.elapsed() < Duration::from_secs(600));
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::remove_file(&program).unwrap();
    succeeds(&run.wait_with_output().unwrap());
    let report = json(&out.join("report.json"));
    for name in ["2", "3"] {
        assert_eq!(row(&report, name)["status"], "done");
    }
}
