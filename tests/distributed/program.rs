//! The program in several processes, each in a folder of its own, as on machines without a shared disk.

use crate::gpus::two_gpus;
use crate::ranks::{environment, free_port};
use inverse_flow::train::metrics::{self, Record};
use inverse_flow::train::Checkpoint;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// 4 batches an epoch, which two ranks cannot halve, of a model that is small but has every part.
pub const RUN: &str = "train --limit 21 --batch-size 5 --levels 2 --steps 1 --width 6 --lr 0.003 \
                       --augment --warmup-steps 4 --device cpu --log-every 1 --out run";

/// The folder that a rank works in.
pub fn folder_of(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank{rank}"))
}

pub fn program(folder: &Path, arguments: &str) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_inverse-flow"));
    command
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env("OMP_NUM_THREADS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts the command once for each rank, in its folder.
pub fn start(folder: &Path, ranks: usize, arguments: &str) -> Vec<Child> {
    let port = free_port().to_string();
    let one = |rank: usize| {
        let mut command = program(&folder_of(folder, rank), arguments);
        command.envs(environment(rank, ranks, &port));
        command.spawn().unwrap()
    };
    (0..ranks).map(one).collect()
}

/// How the ranks ended.
pub fn ended(children: Vec<Child>) -> Vec<Output> {
    let outputs = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap());
    outputs.collect()
}

/// Runs the command to its good end, and what rank 0 printed; the others print nothing.
#[track_caller]
pub fn done(folder: &Path, ranks: usize, arguments: &str) -> String {
    let outputs = ended(start(folder, ranks, arguments));
    for (rank, output) in outputs.iter().enumerate() {
        assert!(output.status.success(), "rank {rank}: {output:?}");
        assert!(
            rank == 0 || output.stdout.is_empty(),
            "rank {rank}: {output:?}"
        );
    }
    String::from_utf8_lossy(&outputs[0].stdout).into_owned()
}

pub fn last(folder: &Path) -> PathBuf {
    folder_of(folder, 0).join("run/checkpoints/last.safetensors")
}

/// The step of the last checkpoint.
pub fn step_of(folder: &Path) -> Option<u64> {
    Some(Checkpoint::open(&last(folder)).ok()?.progress.step)
}

/// Waits for a checkpoint of this step or a later one.
pub fn reach(folder: &Path, step: u64) {
    // no measurement: it only ends a test whose run never gets there
    let deadline = Instant::now() + Duration::from_secs(240);
    while step_of(folder).is_none_or(|reached| reached < step) {
        assert!(Instant::now() < deadline, "no checkpoint of step {step}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn records(folder: &Path) -> Vec<Record> {
    metrics::read(&folder_of(folder, 0).join("run/metrics.jsonl")).unwrap()
}

/// The bytes of all tensors of the last checkpoint.
pub fn tensors(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(last(folder)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.data().to_vec()))
        .collect();
    all.sort();
    all
}

/// Compares the metrics of one process with those of two.
#[track_caller]
fn trained_alike(one: &Path, two: &Path) {
    let (of_one, of_two) = (records(one), records(two));
    assert_eq!(of_one.len(), of_two.len());
    for (a, b) in of_one.iter().zip(&of_two) {
        assert_eq!(
            (a.step, a.epoch, a.split, a.lr),
            (b.step, b.epoch, b.split, b.lr)
        );
        assert_eq!((a.ranks, b.ranks), (1, 2));
        let apart = (a.bpd.unwrap() - b.bpd.unwrap()).abs();
        // before the first step the models are the same; then rounding grows
        let most = if a.step == 1 { 1e-6 } else { 1e-3 };
        assert!(apart < most, "step {}: {apart:e}", a.step);
    }
}

#[test]
fn two_ranks_train_like_one_and_rank_0_alone_leaves_files_and_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    // what is validated is the averages, of which every rank has its own
    let two_epochs = format!("{RUN} --epochs 2 --val-every 2 --ema 0.9 --tensorboard");
    let output = program(&folder_of(&one, 0), &two_epochs).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = done(&two, 2, &two_epochs);
    assert!(text.contains(", device cpu, 2 processes"), "{text}");
    assert!(text.contains("done: 8 steps"), "{text}");

    trained_alike(&one, &two);
    let events = |run: &Path| {
        let entries = std::fs::read_dir(folder_of(run, 0).join("run")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("tfevents")).count()
    };
    assert_eq!((events(&one), events(&two)), (1, 1));

    // the images of two are those of one, to the byte
    done(&two, 2, "sample run --count 25 --device cpu --out shared");
    let alone = "sample run --count 25 --device cpu --out alone";
    let output = program(&folder_of(&two, 0), alone).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let files = |name: &str| {
        let entries = std::fs::read_dir(folder_of(&two, 0).join(name)).unwrap();
        let mut all: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(files("shared").len(), 26);
    assert!(files("shared") == files("alone"));
    assert!(std::fs::read_dir(folder_of(&two, 1))
        .unwrap()
        .next()
        .is_none());
    for file in [
        "samples/epoch-0002.png",
        "curves.png",
        "checkpoints/best.safetensors",
    ] {
        assert!(folder_of(&two, 0).join("run").join(file).exists(), "{file}");
    }
}

/// The labels are shared out like the images: a rank with those of another one would have another gradient.
#[test]
fn two_ranks_train_a_conditional_model_like_one_and_know_its_classes_alike() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let command = format!("{RUN} --conditional --epochs 1");
    let alone = |arguments: &str| {
        let output = program(&folder_of(&one, 0), arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    alone(&command);
    done(&two, 2, &command);
    trained_alike(&one, &two);
    // the same file, by one process and by two
    let run = folder_of(&one, 0).join("run");
    let eval = format!("eval {} --limit 13 --device cpu --json", run.display());
    let alone = alone(&eval);
    assert!(alone.contains("class_accuracy"), "{alone}");
    assert_eq!(done(&two, 2, &eval), alone);
}

/// Each with a GPU of its own, over both ways of exchange.
#[test]
fn cuda_two_ranks_train_like_one() {
    if !two_gpus("cuda_two_ranks_train_like_one") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let command = format!(
        "{} --epochs 1",
        RUN.replace("--device cpu", "--device cuda")
    );
    let one = dir.path().join("one");
    let output = program(&folder_of(&one, 0), &command).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for way in ["nccl", "gloo"] {
        let two = dir.path().join(way);
        let (port, mut children) = (free_port().to_string(), Vec::new());
        for rank in 0..2 {
            let mut child = program(&folder_of(&two, rank), &command);
            child.envs(environment(rank, 2, &port));
            child.env("INVERSE_FLOW_GPU_EXCHANGE", way);
            children.push(child.spawn().unwrap());
        }
        for output in ended(children) {
            assert!(output.status.success(), "{way}: {output:?}");
        }
        trained_alike(&one, &two);
    }
}

#[test]
fn a_signal_to_one_rank_saves_and_any_number_of_ranks_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (run, whole) = (dir.path().join("stopped"), dir.path().join("whole"));
    let long = format!("{RUN} --epochs 60 --checkpoint-minutes 0");
    let children = start(&run, 2, &long);
    reach(&run, 3);
    let pid = children[1].id().to_string();
    assert!(Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap()
        .success());
    let outputs = ended(children);
    for output in &outputs {
        assert_eq!(output.status.code(), Some(143), "{output:?}");
    }
    let text = String::from_utf8_lossy(&outputs[0].stdout);
    let step = step_of(&run).unwrap();
    assert!(
        text.contains(&format!("stopped and saved at step {step};")),
        "{text}"
    );
    // rank 0 had no signal: the other one has said it
    assert!(outputs[0].stderr.is_empty(), "{outputs:?}");

    let end = step + 4;
    done(&run, 2, &format!("train --resume run --max-steps {end}"));
    done(&whole, 2, &format!("{long} --max-steps {end}"));
    assert!(tensors(&run) == tensors(&whole), "resumed at step {step}");
    done(
        &run,
        3,
        &format!("train --resume run --max-steps {}", end + 2),
    );
    let arguments = format!("train --resume run --max-steps {}", end + 3);
    let output = program(&folder_of(&run, 0), &arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let measured = records(&run)
        .into_iter()
        .filter(|record| record.changes.is_empty());
    let ranks: Vec<_> = measured.map(|record| record.ranks).collect();
    // two steps of three ranks and one of one, and the validation at the end of each
    assert_eq!(ranks[ranks.len() - 5..], [3, 3, 3, 1, 1][..], "{ranks:?}");
}

#[test]
fn two_ranks_write_the_scores_of_one_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let run = folder_of(&one, 0);
    let trained = program(&run, &format!("{RUN} --max-steps 2"))
        .output()
        .unwrap();
    assert!(trained.status.success(), "{trained:?}");
    let model = run.join("run/checkpoints/last.safetensors");
    let score = format!(
        "score {} glyphs --limit 11 --against noise.npy --batch-size 3 --device cpu --out a.jsonl",
        model.display()
    );
    // 28 x 28 bytes an image, 5 of them
    let mut header = "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 28, 28), }".to_owned();
    header.extend(std::iter::repeat_n(' ', 117 - header.len()));
    let mut noise = [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), b"\n"].concat();
    noise.extend((0..5 * 784u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    for folder in [run.clone(), folder_of(&two, 0), folder_of(&two, 1)] {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("noise.npy"), &noise).unwrap();
    }
    let output = program(&run, &score).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = done(&two, 2, &score);
    assert_eq!(text, String::from_utf8_lossy(&output.stdout));
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    for file in ["a.jsonl", "a.svg", "a.png"] {
        assert!(
            read(&run, file) == read(&folder_of(&two, 0), file),
            "{file}"
        );
        assert!(!folder_of(&two, 1).join(file).exists(), "{file}");
    }
}
