//! What may change in a run that goes on, and what is fixed.

use crate::run::{done, fails};
use inverse_flow::train::metrics::{self, Record};
use inverse_flow::train::RunConfig;
use std::path::Path;

/// 4 batches an epoch.
const RUN: &str =
    "train --limit 20 --batch-size 5 --levels 1 --steps 1 --width 4 --warmup-steps 0 --lr 0.001 \
                   --device cpu --log-every 1 --out run";

fn config(at: &Path) -> RunConfig {
    RunConfig::from_json(&std::fs::read_to_string(at.join("run/config.json")).unwrap()).unwrap()
}

fn records(at: &Path) -> Vec<Record> {
    metrics::read(&at.join("run/metrics.jsonl")).unwrap()
}

/// Learning rates of the steps that lines are about, in order.
fn rates(at: &Path) -> Vec<(u64, f64)> {
    let lines = records(at).into_iter();
    let lines = lines.filter(|line| line.bpd.is_some() && line.grad_norm.is_some());
    lines.map(|line| (line.step, line.lr)).collect()
}

#[test]
fn what_may_change_changes_and_is_written_down_with_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 2"));
    let said = done(
        at,
        "train --resume run --max-steps 4 --lr 0.0005 --clip-norm 7 --weight-decay 0.1 --precision bfloat16 \
         --rebuild-activations --threads 2 --samples 4 --augment --checkpoint-minutes 1 --val-limit 3 --epochs 11",
    );
    assert!(
        said.contains("train.lr was 0.001 and is 0.0005 now"),
        "{said}"
    );
    let config = config(at);
    assert_eq!(config.train.threads, Some(2));
    let keys: Vec<_> = config.changes.iter().map(|change| &*change.key).collect();
    let expected = "data.augment precision train.checkpoint_minutes train.clip_norm train.epochs train.lr train.max_steps \
                    train.rebuild_activations train.samples train.threads train.val_limit train.weight_decay";
    assert_eq!(keys.join(" "), expected);
    assert!(config.changes.iter().all(|change| change.step == 2));
    let written: Vec<_> = records(at)
        .into_iter()
        .filter(|line| !line.changes.is_empty())
        .collect();
    assert_eq!(written.len(), 1);
    assert_eq!((written[0].step, &written[0].changes), (2, &config.changes));
    assert_eq!(rates(at), [(1, 1e-3), (2, 1e-3), (3, 5e-4), (4, 5e-4)]);

    // what is as it was is no change, and a later session adds its own
    done(
        at,
        "train --resume run --max-steps 5 --lr 0.0005 --decay 0.5",
    );
    let later: Vec<_> = self::config(at).changes.split_off(config.changes.len());
    let keys: Vec<_> = later
        .iter()
        .map(|change| (change.step, &*change.key))
        .collect();
    assert_eq!(keys, [(4, "train.decay"), (4, "train.max_steps")]);
}

#[test]
fn what_is_fixed_is_refused_with_its_reason_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 2"));
    let before = std::fs::read(at.join("run/config.json")).unwrap();
    for (flag, key, reason) in [
        ("--levels 2", "model.levels", "parameters"),
        ("--steps 2", "model.steps", "parameters"),
        ("--width 5", "model.coupling.width", "parameters"),
        ("--kernel 2", "model.mixing.kernel", "parameters"),
        ("--model finc", "model.mixing", "parameters"),
        ("--preset quick/finc", "preset", "began"),
        ("--seed 1", "seed", "noise"),
        ("--bits 5", "bits", "pixels"),
        ("--limit 19", "data.limit", "images"),
        ("--data noise28", "data.name", "images"),
        ("--pad 32", "data.pad", "images"),
        ("--val-fraction 0.2", "data.val_fraction", "images"),
    ] {
        let message = fails(at, &format!("train --resume run {flag}"), 2);
        assert!(message.contains(&format!("`{key}")), "{flag}: {message}");
        assert!(
            message.contains("fixed once") && message.contains(reason),
            "{flag}: {message}"
        );
        assert_eq!(
            std::fs::read(at.join("run/config.json")).unwrap(),
            before,
            "{flag}"
        );
    }
}

#[test]
fn an_edited_configuration_is_taken_like_flags() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 2"));
    let path = at.join("run/config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let edit = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    };
    edit("\"seed\": 0", "\"seed\": 7");
    let message = fails(at, "train --resume run --max-steps 3", 2);
    assert!(message.contains("`seed` is fixed"), "{message}");
    edit("\"lr\": 0.001", "\"lr\": 0.001x");
    let message = fails(at, "train --resume run --max-steps 3", 1);
    assert!(
        message.contains("config.json") && message.contains("mend it, or remove it"),
        "{message}"
    );
    edit("\"lr\": 0.001", "\"lr\": 0.002");
    done(at, "train --resume run --max-steps 3");
    assert_eq!(rates(at).last(), Some(&(3, 2e-3)));
    // a file of changes, as for a new run
    std::fs::write(at.join("more.json"), "{\"train\": {\"lr\": 0.004}}").unwrap();
    done(at, "train --resume run --max-steps 4 --config more.json");
    assert_eq!(rates(at).last(), Some(&(4, 4e-3)));
    // without the file the checkpoint knows
    std::fs::remove_file(&path).unwrap();
    done(at, "train --resume run --max-steps 5");
    let train = config(at).train;
    assert_eq!((train.max_steps, train.lr), (Some(5), 4e-3));
}

#[test]
fn a_cosine_is_stretched_with_its_run_and_steps_without_a_rate_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 4 --cosine 4"));
    let said = done(at, "train --resume run --max-steps 8");
    assert!(
        said.contains("train.decay was") && !said.contains("rate is 0"),
        "{said}"
    );
    let rates: Vec<_> = rates(at).into_iter().map(|(_, lr)| lr).collect();
    let cosine = |at: f64| 0.5e-3 * (1.0 + (std::f64::consts::PI * at / 8.0).cos());
    for (step, rate) in rates.iter().enumerate().skip(4) {
        assert!((rate - cosine(step as f64)).abs() < 1e-9, "{rates:?}");
    }
    // one that is set stays, and what that means is said
    let said = done(at, "train --resume run --max-steps 12 --cosine 9");
    assert!(
        said.contains("rate is 0 from step 9 on") && said.contains("--cosine 12"),
        "{said}"
    );
    let said = done(at, &format!("{RUN} --overwrite --max-steps 6 --cosine 2"));
    assert!(said.contains("rate is 0 from step 2 on"), "{said}");
    // one that is told to end early is not told so by accident
    let said = done(at, "train --resume run --max-steps 6 --lr 0.01");
    assert!(!said.contains("train.decay"), "{said}");
}

#[test]
fn another_batch_size_goes_on_among_unseen_images() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    done(at, &format!("{RUN} --max-steps 2"));
    // 10 of the 20 images are seen: 3 of 5 batches of 4 have begun among them
    done(at, "train --resume run --batch-size 4 --max-steps 5");
    let epochs: Vec<_> = records(at)
        .into_iter()
        .filter(|line| line.grad_norm.is_some())
        .map(|line| (line.step, line.epoch))
        .collect();
    assert_eq!(epochs, [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2)]);
    let last = inverse_flow::train::Checkpoint::open(&at.join("run/checkpoints/last.safetensors"));
    let progress = last.unwrap().progress;
    assert_eq!((progress.epoch, progress.batch, progress.step), (2, 1, 5));
}

#[test]
fn a_job_that_is_queued_again_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let job = format!("{RUN} --resume-or-start");
    let said = done(at, &format!("{job} --max-steps 2"));
    assert!(said.contains("done: 2 steps"), "{said}");
    let said = done(at, &format!("{job} --max-steps 4"));
    assert!(
        said.contains("resuming at step 2") && said.contains("done: 4 steps"),
        "{said}"
    );
    let said = done(at, &format!("{job} --max-steps 4"));
    assert!(said.contains("already complete"), "{said}");
    let message = fails(at, &format!("{job} --max-steps 4 --seed 5"), 2);
    assert!(message.contains("`seed` is fixed"), "{message}");
    // one that was ended before its first checkpoint begins again
    std::fs::remove_dir_all(at.join("run/checkpoints")).unwrap();
    let said = done(at, &format!("{job} --max-steps 2"));
    assert!(
        said.contains("done: 2 steps") && !said.contains("resuming"),
        "{said}"
    );
}
