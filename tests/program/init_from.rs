//! `train --init-from`: runs that begin with the weights of others.

use crate::altered::altered;
use crate::run::{done, fails};
use inverse_flow::train::{metrics, RunConfig};
use std::path::Path;
use tch::Tensor;

const RUN: &str = "train --limit 20 --batch-size 5 --levels 1 --steps 1 --width 4 --device cpu --lr 0.02 --warmup-steps 0";
/// A step that changes next to nothing.
const STILL: &str = "--max-steps 1 --lr 1e-12 --limit 20 --batch-size 5 --device cpu";

/// Bits per dimension of the last validation.
fn validated(run: &Path) -> f64 {
    let records = metrics::read(&run.join("metrics.jsonl")).unwrap();
    records.last().unwrap().bpd.unwrap()
}

fn config(run: &Path) -> RunConfig {
    let text = std::fs::read_to_string(run.join("config.json")).unwrap();
    RunConfig::from_json(&text).unwrap()
}

#[test]
fn a_run_begins_with_the_weights_of_a_run_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 6 --ema 0.8 --out run"));
    let best = validated(&at.join("run"));
    done(at, "convert run theirs.pth --state-dict");
    // nothing says what model the weights alone are of
    done(at, "convert run bare.ot");
    let sources = [
        ("run", ""),
        ("run/checkpoints/best.safetensors", ""),
        ("theirs.pth", ""),
        (
            "bare.ot",
            "--preset quick/inverse-flow --levels 1 --steps 1 --width 4",
        ),
    ];
    for (number, (source, described)) in sources.into_iter().enumerate() {
        let said = done(
            at,
            &format!("train --init-from {source} {described} {STILL} --out {number}"),
        );
        assert!(said.contains("beginning with the weights of"), "{said}");
        let found = validated(&at.join(number.to_string()));
        assert!((found - best).abs() < 1e-4, "{source}: {found}, not {best}");
    }
    // those of the last step are others
    done(
        at,
        &format!("train --init-from run --no-ema {STILL} --out last"),
    );
    assert!((validated(&at.join("last")) - best).abs() > 1e-3);

    // the settings are those of the run, then the flags'; which file it was is kept
    let (old, new) = (config(&at.join("run")), config(&at.join("0")));
    assert_eq!((&new.model, new.train.batch_size), (&old.model, 5));
    assert_eq!(new.train.lr, 1e-12);
    let from = new.init_from.unwrap();
    assert_eq!(from.from, at.canonicalize().unwrap().join("run"));
    assert!(from.fingerprint.is_some());
    // the run goes on without the file, and its configuration begins the same again, if the file is the same
    std::fs::rename(at.join("theirs.pth"), at.join("moved.pth")).unwrap();
    done(at, "train --resume 2 --max-steps 2");
    let said = fails(at, "train --config 2/config.json --out again", 1);
    assert!(said.contains("theirs.pth"), "{said}");
    done(at, "convert run theirs.pth --state-dict --no-ema");
    let said = fails(at, "train --config 2/config.json --out again", 1);
    assert!(
        said.contains("another file") && said.contains("init_from.fingerprint"),
        "{said}"
    );
    std::fs::rename(at.join("moved.pth"), at.join("theirs.pth")).unwrap();
    done(at, "train --config 2/config.json --out again");
    // what a run began with is fixed
    let said = fails(at, "train --resume 1 --config 2/config.json", 2);
    assert!(
        said.contains("init_from") && said.contains("fixed"),
        "{said}"
    );
    let said = fails(at, "train --resume 1 --init-from run", 2);
    assert!(said.contains("cannot be used with"), "{said}");
}

#[test]
fn the_same_command_again_goes_on_though_the_file_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 2 --out run"));
    for described in [
        "",
        "--preset quick/inverse-flow --levels 1 --steps 1 --width 4 --batch-size 5",
    ] {
        let again = |steps: u64| {
            format!("train --init-from run {described} --limit 20 --device cpu --max-steps {steps} --resume-or-start --out fine")
        };
        done(at, &again(1));
        std::fs::rename(at.join("run"), at.join("gone")).unwrap();
        let said = done(at, &again(3));
        assert!(said.contains("resuming at step 1"), "{said}");
        std::fs::rename(at.join("gone"), at.join("run")).unwrap();
        std::fs::remove_dir_all(at.join("fine")).unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused_or_with_partial_left_as_it_is_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 3 --out run"));
    let other = "train --preset quick/inverse-flow --levels 1 --steps 2 --width 4 --init-from run";
    let said = fails(at, &format!("{other} {STILL} --out fine"), 1);
    assert!(
        said.contains("missing") && said.contains("--partial takes what fits"),
        "{said}"
    );
    let said = done(at, &format!("{other} --partial {STILL} --out fine"));
    assert!(
        said.contains("are from the file") && said.contains("not in the file"),
        "{said}"
    );
    let tensor = |run: &str, name: &str| -> Vec<f32> {
        let file = at.join(run).join("checkpoints/last.safetensors");
        let all = Tensor::read_safetensors(file).unwrap();
        let found = all.into_iter().find(|(key, _)| key == name);
        let (_, tensor) = found.unwrap_or_else(|| panic!("no {name}"));
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    };
    let file = at.join("run/checkpoints/last.safetensors");
    let names: Vec<_> = Tensor::read_safetensors(&file)
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let actnorms: Vec<_> = names
        .iter()
        .filter(|name| name.ends_with("actnorm.loc") && !name.starts_with("optim"))
        .collect();
    assert!(!actnorms.is_empty(), "{names:?}");
    for name in actnorms {
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&tensor("fine", name), &tensor("run", name)), "{name}");
        // the second step has seen the first batch
        let second = name.replacen("steps.0", "steps.1", 1);
        if second != *name {
            assert!(
                tensor("fine", &second).iter().any(|value| *value != 0.0),
                "{second}"
            );
        }
    }
    assert!(validated(&at.join("fine")).is_finite());
    // a layer of another size is set from the first batch though its flag is in the file
    let wide = "train --data noise64 --preset quick/inverse-flow --levels 1 --steps 1 --width 4 --init-from run --partial";
    let said = done(at, &format!("{wide} {STILL} --out wide"));
    assert!(said.contains("of other sizes"), "{said}");
    let set = tensor("wide", "levels.0.steps.0.actnorm.loc");
    assert!(
        set.len() == 12 && set.iter().all(|value| value.abs() > 1e-3),
        "{set:?}"
    );
    let message = fails(
        at,
        "train --preset quick/mintnet --init-from run --partial --limit 20 --batch-size 5 --device cpu --out none",
        1,
    );
    assert!(
        message.contains("nothing in it fits") || message.contains("not even a part"),
        "{message}"
    );
    let message = fails(at, &format!("{RUN} --partial --out none"), 2);
    assert!(message.contains("--init-from"), "{message}");
}

#[test]
fn weights_that_are_not_finite_are_no_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 1 --out run"));
    altered(at, "actnorm.loc", f64::NAN, "bad.safetensors");
    let said = fails(
        at,
        &format!("train --init-from bad.safetensors {STILL} --out fine"),
        1,
    );
    assert!(
        said.contains("bad.safetensors") && said.contains("nothing can be learnt"),
        "{said}"
    );
    assert!(!at.join("fine").exists());
}
