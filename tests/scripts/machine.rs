//! A small machine of a test's own: a copy of `scripts/` and a PATH that holds only chosen programs, with stand-ins for
//! Rust and Python.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The checkout.
pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Programs of any Linux system that the scripts use.
pub const TOOLS: &[&str] = &[
    "awk", "basename", "bash", "cat", "chmod", "cp", "cut", "df", "dirname", "du", "env", "find",
    "flock", "getconf", "grep", "head", "id", "ln", "mkdir", "mktemp", "mv", "rm", "sed", "sort",
    "tail", "tee", "uname", "wc",
];
pub const COMPILERS: &[&str] = &["c++", "cc", "as", "ld"];

/// See the module.
pub struct Machine {
    pub dir: TempDir,
}

/// How a script ended.
pub struct Outcome {
    pub code: Option<i32>,
    pub text: String,
}

impl Machine {
    /// A machine that has everything.
    pub fn new() -> Self {
        let machine = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(machine.bin()).unwrap();
        fs::create_dir(machine.root()).unwrap();
        copy_folder(
            &Path::new(REPOSITORY).join("scripts"),
            &machine.root().join("scripts"),
        );
        for name in TOOLS.iter().chain(COMPILERS) {
            let found = which(name).unwrap_or_else(|| panic!("this test needs {name}"));
            symlink(found, machine.bin().join(name)).unwrap();
        }
        machine.program("cargo", "exit 0");
        machine.program("rustc", "echo 'rustc 1.95.0 (abc 2026-04-14)'");
        let python =
            fs::read_to_string(Path::new(REPOSITORY).join("tests/scripts/fake_python.sh")).unwrap();
        machine.write_program("python3", &python);
        machine
    }

    pub fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("checkout")
    }

    pub fn without(self, program: &str) -> Self {
        fs::remove_file(self.bin().join(program)).unwrap();
        self
    }

    /// With the program of this machine in the place of a stand-in.
    pub fn with_real(self, program: &str) -> Self {
        let found = which(program).unwrap_or_else(|| panic!("this test needs {program}"));
        let link = self.bin().join(program);
        fs::remove_file(&link).unwrap();
        symlink(found, link).unwrap();
        self
    }

    /// Puts a shell script in the place of a program.
    pub fn program(&self, name: &str, script: &str) {
        self.write_program(name, &format!("#!/bin/bash\n{script}\n"));
    }

    pub fn write_program(&self, name: &str, text: &str) {
        let path = self.bin().join(name);
        let _ = fs::remove_file(&path);
        write_executable(&path, text);
    }

    pub fn run(&self, script: &str, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let output = Command::new(self.root().join("scripts").join(script))
            .args(args)
            .env_clear()
            .env("PATH", self.bin())
            .env("FAKE_LOG", self.dir.path().join("installs"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Outcome {
            code: output.status.code(),
            text: text.concat(),
        }
    }

    pub fn set_up(&self, variables: &[(&str, &str)]) -> Outcome {
        self.run("setup.sh", &[], variables)
    }

    pub fn installs(&self) -> usize {
        fs::read_to_string(self.dir.path().join("installs")).map_or(0, |log| log.lines().count())
    }

    pub fn has(&self, path: &str) -> bool {
        self.root().join(path).exists()
    }
}

impl Outcome {
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self
    }

    /// Fails in one line that holds all of `parts`.
    pub fn fails_with(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.text);
        let last = self.text.lines().last().unwrap_or_default();
        for part in parts {
            assert!(last.contains(part), "`{part}` is not in: {}", self.text);
        }
    }
}

pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = ["/usr/bin", "/bin"].map(PathBuf::from);
    let mut places = system.into_iter().chain(std::env::split_paths(&path));
    places.find_map(|place| Some(place.join(name)).filter(|file| file.is_file()))
}

pub fn write_executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
