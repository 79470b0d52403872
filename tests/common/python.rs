//! Files that PyTorch has written.

use std::path::{Path, PathBuf};
use std::process::Command;

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
    run("make_state_files.py", folder, arguments);
}

/// Runs a script of tests/python with a folder and `arguments`.
pub fn run(script: &str, folder: &Path, arguments: &[&str]) {
    let python = PathBuf::from(REPOSITORY).join(".venv/bin/python");
    let output = Command::new(&python)
        .arg(PathBuf::from(REPOSITORY).join("tests/python").join(script))
        .arg(folder)
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap_or_else(|err| panic!("{}: {err}: scripts/setup.sh makes it", python.display()));
    assert!(output.status.success(), "{output:?}");
}
