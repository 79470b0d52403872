//! Damaged and hostile files: none of them crashes, hangs, runs anything, takes much memory or work or changes a model by half.
//!
//! Every format's corpus is read in a process of its own, so that a crash would be seen and what each file takes can be
//! counted.

use crate::counted::Taken;
use crate::damage::{hostile_archives, hostile_headers, hostile_legacy};
use crate::damaged_bytes::{damage, Rng};
use crate::process::again;
use crate::python::made_by_python;
use crate::support::{snapshot, targets};
use inverse_flow::weights::{write_ot, write_safetensors, Naming, StateFile};
use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use tch::{Kind, Tensor};

/// What a file may take: memory, objects built, and bytes read for each of its own.
const MEMORY: u64 = 100 << 20;
const PIECES: u64 = 3 << 20;
const READS: u64 = 4;
/// Files of each format, at least.
const FILES: usize = 300;

const FOLDER: &str = "INVERSE_FLOW_TEST_CORPUS";
const FORMATS: [&str; 10] = [
    "model.safetensors",
    "legacy.pt",
    "legacy_nested.pt",
    "program.pt2",
    "model.ot",
    "flat.pt",
    "nested.pt",
    "script.pt",
    "module.pt",
    "legacy_module.pt",
];

/// The variables of `Net` in tests/python/make_state_files.py.
fn net() -> Vec<(String, Tensor)> {
    targets(&[
        ("first.weight", &[5, 3], Kind::Float),
        ("first.bias", &[5], Kind::Float),
        ("list.0.weight", &[4, 2, 3, 3], Kind::Float),
        ("list.0.bias", &[4], Kind::Float),
        ("list.1.weight", &[1, 4, 1, 1], Kind::Float),
        ("seen", &[], Kind::Bool),
        ("count", &[2], Kind::Int64),
    ])
}

fn fill(path: &Path, net: &[(String, Tensor)]) -> inverse_flow::Result<()> {
    let net = net
        .iter()
        .map(|(name, t)| (name.clone(), t.shallow_clone()));
    let file = StateFile::open(path)?;
    file.load(net.collect(), Naming::Any { layers: &[] })?;
    Ok(())
}

#[test]
fn no_damaged_file_does_harm() {
    if let Some(path) = std::env::var_os(FOLDER) {
        return read_corpus_of(Path::new(&path));
    }
    let folder = made_by_python(&[]);
    let whole = net();
    fill(&folder.path().join("flat.pt"), &whole).unwrap();
    let copies = || {
        whole
            .iter()
            .map(|(name, t)| (name.clone(), t.copy()))
            .collect()
    };
    let path = folder.path().join("model.safetensors");
    write_safetensors(&path, copies(), HashMap::new()).unwrap();
    write_ot(&folder.path().join("model.ot"), copies()).unwrap();
    for format in FORMATS {
        let output = again(module_path!(), "no_damaged_file_does_harm")
            .env(FOLDER, folder.path().join(format))
            .env("OMP_NUM_THREADS", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{format}: {output:?}");
        let line = text.lines().find(|line| line.starts_with("corpus: "));
        println!("{}", line.expect("the corpus was read"));
    }
    assert!(!folder.path().join("marker").exists(), "a pickle ran");
}

/// What the test's other processes do, each for one format.
fn read_corpus_of(path: &Path) {
    let folder = path.parent().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let whole = std::fs::read(path).unwrap();
    let marker = folder.join("marker");
    let mut rng = Rng::new(name.len() as u64);
    let files = match name {
        "model.safetensors" => [damage(&whole, 400, &mut rng), hostile_headers()].concat(),
        "program.pt2" => damage(&whole, 400, &mut rng),
        "legacy.pt" | "legacy_nested.pt" | "legacy_module.pt" => {
            let inside = hostile_legacy(&whole, 200, marker.to_str().unwrap(), &mut rng);
            [damage(&whole, 300, &mut rng), inside].concat()
        }
        _ => {
            let inside = hostile_archives(&whole, 200, marker.to_str().unwrap(), &mut rng);
            [damage(&whole, 300, &mut rng), inside].concat()
        }
    };
    assert!(files.len() >= FILES, "{}", files.len());
    let has_checksums = !name.starts_with("legacy");
    let net = net();
    let untouched = snapshot(&net);
    fill(path, &net).unwrap();
    let right = snapshot(&net);
    assert_ne!(right, untouched);

    let damaged = folder.join("damaged");
    let (mut refused, mut most) = (0, Taken::default());
    for (i, bytes) in files.iter().enumerate() {
        std::fs::write(&damaged, bytes).unwrap();
        let net = self::net();
        let (taken, result) = Taken::by(|| catch_unwind(AssertUnwindSafe(|| fill(&damaged, &net))));
        most = most.max(&taken);
        let reads = READS * bytes.len() as u64 + (1 << 20);
        let modest = taken.memory < MEMORY && taken.pieces < PIECES && taken.read < reads;
        assert!(modest, "{name} {i}: {} bytes, {taken:?}", bytes.len());
        match result.unwrap_or_else(|_| panic!("{name} {i} panicked")) {
            Ok(()) if has_checksums => assert_eq!(snapshot(&net), right, "{name} {i}"),
            // a flipped bit of a number could not be seen before PyTorch 1.6
            Ok(()) => assert_ne!(snapshot(&net), untouched, "{name} {i}"),
            Err(err) => {
                refused += 1;
                let message = err.to_string();
                assert!(
                    message.contains("damaged: ") || message.contains("damaged\": "),
                    "{message}"
                );
                assert_eq!(message.lines().count(), 1, "{name} {i}: {message}");
                assert!(message.len() < 4000, "{name} {i}: {message}");
                assert_eq!(snapshot(&net), untouched, "{name} {i}: {message}");
            }
        }
    }
    assert!(refused * 2 > files.len(), "{name}: {refused} refused");
    assert!(!marker.exists(), "{name}: a pickle ran");
    println!(
        "\ncorpus: {name}: {} files, {refused} refused, at most {most:?} each",
        files.len()
    );
}
