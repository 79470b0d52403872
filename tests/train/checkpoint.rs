//! Checkpoints: everything comes back, nothing is loaded by halves.

use crate::device::device;
use crate::support::{images, ScaleFlow};
use inverse_flow::train::{presets, save, Checkpoint, Learner, Progress, RunConfig};
use std::path::Path;
use tch::{nn, nn::VarStore, Kind, Tensor};

const CHW: [i64; 3] = [2, 3, 5];

fn config() -> RunConfig {
    presets::by_name(presets::DEFAULT).unwrap()
}

fn learner() -> Learner {
    let vs = VarStore::new(device());
    let model = ScaleFlow::build(&vs.root(), CHW);
    Learner::new(model, vs, &config().train).unwrap()
}

fn train(learner: &mut Learner, steps: usize) {
    let x = images(7, CHW);
    for _ in 0..steps {
        learner.step(&x, &x.full_like(0.5), 0.01).unwrap();
    }
}

/// Every tensor of a model and its optimiser, with its bits.
fn content(learner: &Learner) -> Vec<(String, Vec<f64>)> {
    let tensors = learner
        .vs
        .variables()
        .into_iter()
        .chain(learner.adam.state());
    let mut content: Vec<_> = tensors
        .map(|(name, t)| {
            (
                name,
                Vec::try_from(t.to_kind(Kind::Double).flatten(0, -1)).unwrap(),
            )
        })
        .collect();
    content.sort_by(|a, b| a.0.cmp(&b.0));
    content
}

fn save_to(path: &Path, learner: &Learner) {
    save(path, learner, &config(), &progress()).unwrap();
}

fn progress() -> Progress {
    Progress {
        step: 3,
        epoch: 2,
        batch: 1,
        best_bpd: Some(0.1 + 0.2),
        skipped: 4,
        skipped_in_row: 1,
        without_improvement: 2,
        seconds: 1.0 / 3.0,
    }
}

#[test]
fn a_loaded_run_goes_on_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let mut saved = learner();
    train(&mut saved, 3);
    save_to(&path, &saved);

    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.progress, progress());
    assert_eq!(checkpoint.config, config());
    let mut loaded = learner();
    assert_ne!(content(&loaded), content(&saved));
    checkpoint.load(&mut loaded).unwrap();
    assert_eq!(content(&loaded), content(&saved));
    train(&mut loaded, 2);
    train(&mut saved, 2);
    assert_eq!(content(&loaded), content(&saved));
}

#[test]
fn saving_replaces_the_file_and_leaves_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    std::fs::write(&path, "older").unwrap();
    save_to(&path, &learner());
    Checkpoint::open(&path).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_checkpoint_of_another_model_is_refused_with_every_difference_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let saved = learner();
    // on both sides one key that the other lacks, and keys of another shape
    let root = saved.vs.root();
    let _ = (&root / "levels" / 1).var("shift", &[4], nn::Init::Const(0.0));
    save_to(&path, &saved);

    let vs = VarStore::new(device());
    let model = ScaleFlow::build(&vs.root(), [2, 5, 3]);
    let _ = (&vs.root() / "levels" / 9).var("scale", &[1], nn::Init::Const(0.0));
    let mut other = Learner::new(model, vs, &config().train).unwrap();
    let before = content(&other);
    let checkpoint = Checkpoint::open(&path).unwrap();
    for error in [
        checkpoint.load_model(&other.vs).unwrap_err(),
        checkpoint.load(&mut other).unwrap_err(),
    ] {
        let message = error.to_string();
        for expected in [
            "a.safetensors",
            "`levels.0.log_scale` is float32 [2, 3, 5] in the file, float32 [2, 5, 3] in the model",
            "`levels.0.shift` is",
            "missing `levels.9.scale`",
            "unexpected `levels.1.shift`",
        ] {
            assert!(message.contains(expected), "no {expected} in {message}");
        }
    }
    let message = checkpoint.load(&mut other).unwrap_err().to_string();
    assert!(
        message.contains("missing `optim.exp_avg.levels.9.scale`"),
        "{message}"
    );
    assert_eq!(content(&other), before);
}

#[test]
fn numbers_of_another_width_are_read_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let mut single = learner();
    save_to(&path, &single);
    let mut vs = learner().vs;
    vs.double();
    Checkpoint::open(&path).unwrap().load_model(&vs).unwrap();
    for (name, tensor) in vs.variables() {
        let stored = single.vs.variables()[&name].to_kind(tensor.kind());
        assert_eq!(tensor, stored, "{name}");
    }
    let third = 1.0 / 3.0;
    tch::no_grad(|| {
        vs.trainable_variables()
            .iter_mut()
            .for_each(|t| drop(t.fill_(third)))
    });
    let wide = Learner::new(
        ScaleFlow::build(&VarStore::new(device()).root(), CHW),
        vs,
        &config().train,
    );
    save_to(&path, &wide.unwrap());
    let checkpoint = Checkpoint::open(&path).unwrap();
    // a run goes on exactly or not at all
    let message = checkpoint.load(&mut single).unwrap_err().to_string();
    assert!(
        message.contains("float64 [2, 3, 5] in the file, float32 [2, 3, 5]"),
        "{message}"
    );
    let report = checkpoint.load_model(&single.vs).unwrap();
    assert!(report
        .remarks
        .iter()
        .any(|line| line.contains("float64 read as float32: rounded")));
    for tensor in single.vs.trainable_variables() {
        assert_eq!(tensor.max().double_value(&[]), f64::from(third as f32));
    }
}

#[test]
fn damaged_files_are_named_and_never_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    save_to(&path, &learner());
    let whole = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let cut = [
        ("is empty", 0),
        ("neither safetensors", 7),
        ("neither safetensors", 8),
        ("not a whole", header / 2),
        ("not a whole", header),
        ("not a whole", whole.len() - 1),
    ];
    let mut cases: Vec<(&str, Vec<u8>)> = cut
        .into_iter()
        .map(|(expected, length)| (expected, whole[..length].to_vec()))
        .collect();
    cases.push(("not a whole", [&whole[..], b"x"].concat()));
    let mut huge = whole.clone();
    huge[7] = 0x7f;
    cases.push(("not a whole", huge));
    for (i, (expected, bytes)) in cases.into_iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let message = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "case {i}: {message}");
        assert!(message.contains("a.safetensors"), "case {i}: {message}");
    }
    let missing = dir.path().join("b.safetensors");
    let message = Checkpoint::open(&missing).unwrap_err().to_string();
    assert!(message.contains("b.safetensors"), "{message}");
}

#[test]
fn safetensors_of_other_programs_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.safetensors");
    Tensor::write_safetensors(&[("weight", Tensor::from_slice(&[1.0f32, 2.0]))], &path).unwrap();
    let message = Checkpoint::open(&path).unwrap_err().to_string();
    assert!(
        message.contains("not a checkpoint of inverse-flow"),
        "{message}"
    );
}
