//! Files made by PyTorch, and models to load them into.
#![allow(dead_code)] // every test program uses another part of this module

use std::path::{Path, PathBuf};
use std::process::Command;
use tch::{Device, Kind, Tensor};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// A folder that is removed at the end.
pub type Folder = tempfile::TempDir;

/// Runs tests/python/make_state_files.py with a new folder and `arguments`.
pub fn made_by_python(arguments: &[&str]) -> Folder {
    let folder = tempfile::tempdir().unwrap();
    add_by_python(folder.path(), arguments);
    folder
}

/// The same into a folder that is there.
pub fn add_by_python(folder: &Path, arguments: &[&str]) {
    let python = PathBuf::from(REPOSITORY).join(".venv/bin/python");
    let output = Command::new(&python)
        .arg(PathBuf::from(REPOSITORY).join("tests/python/make_state_files.py"))
        .arg(folder)
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap_or_else(|err| panic!("{}: {err}: scripts/setup.sh makes it", python.display()));
    assert!(output.status.success(), "{output:?}");
}

/// Tensors full of sevens (or true) with these names, sizes and kinds.
pub fn targets(of: &[(&str, &[i64], Kind)]) -> Vec<(String, Tensor)> {
    let make = |&(name, size, kind): &(&str, &[i64], Kind)| {
        let tensor = Tensor::full(size, 7, (kind, Device::Cpu));
        (name.to_owned(), tensor)
    };
    of.iter().map(make).collect()
}

/// The numbers of all tensors.
pub fn snapshot(tensors: &[(String, Tensor)]) -> Vec<Vec<f64>> {
    let numbers = |t: &Tensor| Vec::try_from(t.to_kind(Kind::Double).flatten(0, -1)).unwrap();
    tensors.iter().map(|(_, tensor)| numbers(tensor)).collect()
}
