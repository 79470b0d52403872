//! Stopped runs: resuming gives, bit for bit, what a run without a stop gives.

use inverse_flow::train::Checkpoint;
use safetensors::SafeTensors;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// 8 batches an epoch of a model that is small but has every part.
const RUN: &str =
    "train --limit 24 --batch-size 3 --levels 2 --steps 1 --width 6 --lr 0.003 --epochs 9 \
                   --augment --warmup-steps 4 --decay 0.9 --device cpu --checkpoint-minutes 0";

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_inverse-flow"));
    // results are bit-identical for one number of threads, whichever: scripts/test_other_machines.sh has another
    if std::env::var_os("OMP_NUM_THREADS").is_none() {
        program.env("OMP_NUM_THREADS", "1");
    }
    program
}

fn train(folder: &Path, arguments: &str) -> Output {
    let output = program()
        .args(arguments.split_whitespace())
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// Starts a run without end and waits until it has a checkpoint of step `step` or later.
fn start_and_reach(folder: &Path, step: u64) -> Child {
    let child = program()
        .args(RUN.split_whitespace())
        .arg("--out")
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // no measurement: it only ends a test whose run never gets there
    let deadline = Instant::now() + Duration::from_secs(600);
    while step_of(folder).is_none_or(|reached| reached < step) {
        assert!(Instant::now() < deadline, "no checkpoint of step {step}");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn last(folder: &Path) -> std::path::PathBuf {
    folder.join("checkpoints/last.safetensors")
}

fn step_of(folder: &Path) -> Option<u64> {
    Some(Checkpoint::open(&last(folder)).ok()?.progress.step)
}

/// Name, shape and bytes of every tensor.
fn tensors(folder: &Path) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(last(folder)).unwrap();
    let mut tensors: Vec<_> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    tensors.sort();
    tensors
}

/// `(step, split, nll, lr, grad_norm)` of every line that has measured something, without the times.
fn measurements(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let keys = [
        "step",
        "epoch",
        "split",
        "nll_nats",
        "lr",
        "grad_norm",
        "skipped",
    ];
    text.lines()
        .filter(|line| !line.contains("\"changes\""))
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            keys.map(|key| value[key].to_string()).join(" ")
        })
        .collect()
}

/// What lines about training, and no others, say about waiting.
fn waits_are_parts_of_the_time(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let wait = value["data_wait"].as_f64();
        assert_eq!(wait.is_some(), value["split"] == "train", "{line}");
        assert!((0.0..1.0).contains(&wait.unwrap_or(0.0)), "{line}");
    }
}

/// Both runs have the same checkpoint, to the last bit.
pub fn same(a: &Path, b: &Path) {
    let (a, b) = (tensors(a), tensors(b));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert!(a == b, "{} and {} differ", a.0, b.0);
    }
}

#[test]
fn resuming_in_the_middle_and_at_the_end_of_an_epoch_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    train(&whole, &format!("{RUN} --max-steps 21 --out"));
    waits_are_parts_of_the_time(&whole);
    // 5 steps end in the middle of the first epoch, 16 with the second
    train(&parts, &format!("{RUN} --max-steps 5 --out"));
    train(&parts, "train --max-steps 16 --resume");
    train(&parts, "train --max-steps 21 --resume");
    assert_eq!(step_of(&parts), Some(21));
    same(&whole, &parts);
    let again = train(&parts, "train --resume");
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(text.contains("already complete"), "{text}");
    same(&whole, &parts);
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint_as_if_nothing_had_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    let mut child = start_and_reach(&killed, 11);
    child.kill().unwrap();
    child.wait().unwrap();
    let end = step_of(&killed).unwrap() + 6;
    // what was measured after the last checkpoint must not be there twice
    let lost =
        "{\"step\":99999,\"epoch\":1,\"split\":\"train\",\"lr\":1,\"seconds\":1,\"skipped\":0}\n";
    let metrics = killed.join("metrics.jsonl");
    let text = std::fs::read_to_string(&metrics).unwrap() + lost + "{\"step\": 1";
    std::fs::write(&metrics, text).unwrap();

    train(&killed, &format!("train --max-steps {end} --resume"));
    train(&whole, &format!("{RUN} --max-steps {end} --out"));
    assert_eq!(step_of(&killed), Some(end));
    same(&whole, &killed);
    assert_eq!(measurements(&killed), measurements(&whole));
}

#[test]
fn sigterm_saves_and_ends_with_its_status() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped"));
    let child = start_and_reach(&stopped, 3);
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let step = step_of(&stopped).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // a validation is not waited for: what it follows is saved
    let saved = text.contains(&format!("saved at step {step}"));
    assert!(saved || step.is_multiple_of(8), "{text}");
    let end = step + 2;
    train(&stopped, &format!("train --max-steps {end} --resume"));
    train(&whole, &format!("{RUN} --max-steps {end} --out"));
    same(&whole, &stopped);
}

/// What a signal in the last step of a run leaves: all steps, and neither validation nor pictures.
#[test]
fn a_run_that_was_stopped_in_its_last_step_ends_with_a_validation_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut child = start_and_reach(&run, 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let step = step_of(&run).unwrap();
    let resume = format!("train --max-steps {step} --resume");
    train(&run, &resume);
    assert_eq!(step_of(&run), Some(step));
    let validation = measurements(&run).pop().unwrap();
    assert!(
        validation.starts_with(&format!("{step} ")) && validation.contains("val"),
        "{validation}"
    );
    assert!(run.join("checkpoints/best.safetensors").exists());
    assert_eq!(std::fs::read_dir(run.join("samples")).unwrap().count(), 1);

    // and once only
    let lines = measurements(&run);
    let text = train(&run, &resume).stdout;
    assert!(String::from_utf8_lossy(&text).contains("already complete"));
    assert_eq!(measurements(&run), lines);
}

/// Lines of validations, of which one comes after every third step and at the end.
#[test]
fn validations_in_the_middle_of_an_epoch_are_resumed_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let run = format!("{RUN} --val-every 3 --val-limit 10");
    train(&whole, &format!("{run} --max-steps 20 --out"));
    let validated: Vec<_> = measurements(&whole)
        .into_iter()
        .filter(|line| line.contains("val"))
        .map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap())
        .collect();
    // 8 and 16 are ends of epochs, 20 is the end of the run
    assert_eq!(validated, [3, 6, 9, 12, 15, 18, 20]);

    // as a signal in step 6 leaves it: the step is saved, the validation is not made
    train(&parts, &format!("{run} --max-steps 6 --out"));
    let metrics = parts.join("metrics.jsonl");
    let text = std::fs::read_to_string(&metrics).unwrap();
    let kept: Vec<_> = text
        .lines()
        .filter(|line| !(line.contains("\"step\":6,") && line.contains("val")))
        .collect();
    assert_eq!(kept.len() + 1, text.lines().count());
    std::fs::write(&metrics, kept.join("\n") + "\n").unwrap();
    train(&parts, "train --max-steps 20 --resume");
    same(&whole, &parts);
    assert_eq!(measurements(&parts), measurements(&whole));
    let best = |run: &Path| {
        let best = run.join("checkpoints/best.safetensors");
        Checkpoint::open(&best).unwrap().progress.step
    };
    assert_eq!(best(&parts), best(&whole));
}

#[test]
fn every_family_resumes_exactly() {
    let dir = tempfile::tempdir().unwrap();
    for model in inverse_flow::models::MODELS {
        let whole = dir.path().join(format!("{model}-whole"));
        let parts = dir.path().join(format!("{model}-parts"));
        let without = match *model {
            "macow" => "--levels 2 ",
            "mintnet" => "--width 6 ",
            _ => "",
        };
        let run = format!("{} --model {model}", RUN.replace(without, ""));
        train(&whole, &format!("{run} --max-steps 7 --out"));
        train(&parts, &format!("{run} --max-steps 3 --out"));
        train(&parts, "train --max-steps 7 --resume");
        same(&whole, &parts);
        assert_eq!(measurements(&whole).last(), measurements(&parts).last());
    }
}

#[test]
fn a_run_ends_with_the_first_validation_that_reaches_its_target() {
    let dir = tempfile::tempdir().unwrap();
    let goal = dir.path().join("goal");
    train(&goal, &format!("{RUN} --target-bpd 100 --out"));
    let validations = measurements(&goal);
    let validations = validations.iter().filter(|line| line.contains("val"));
    assert_eq!(validations.count(), 1);
    // a goal that is out of reach changes nothing
    let far = dir.path().join("far");
    train(
        &far,
        &format!("{RUN} --max-steps 16 --target-bpd 0.001 --out"),
    );
    let validations = measurements(&far);
    assert_eq!(
        validations
            .iter()
            .filter(|line| line.contains("val"))
            .count(),
        2
    );
}
