//! The scripts: what they say on machines that lack something, and that they can be run again and after
//! an interruption. Every test builds a small machine of its own: a copy of `scripts/` and a PATH that
//! holds only chosen programs, with stand-ins for Rust and Python.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Programs of any Linux system that the scripts use.
const TOOLS: &[&str] = &[
    "awk", "basename", "bash", "cat", "chmod", "cp", "cut", "df", "dirname", "env", "find",
    "flock", "getconf", "grep", "head", "id", "ln", "mkdir", "mktemp", "mv", "rm", "sed", "sort",
    "tail", "uname", "wc",
];
const COMPILERS: &[&str] = &["c++", "cc", "as", "ld"];

struct Machine {
    dir: TempDir,
}

struct Outcome {
    code: Option<i32>,
    text: String,
}

impl Machine {
    /// A machine that has everything.
    fn new() -> Self {
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
            fs::read_to_string(Path::new(REPOSITORY).join("tests/fake_python.sh")).unwrap();
        machine.write_program("python3", &python);
        machine
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("checkout")
    }

    fn without(self, program: &str) -> Self {
        fs::remove_file(self.bin().join(program)).unwrap();
        self
    }

    /// Puts a shell script in the place of a program.
    fn program(&self, name: &str, script: &str) {
        self.write_program(name, &format!("#!/bin/bash\n{script}\n"));
    }

    fn write_program(&self, name: &str, text: &str) {
        let path = self.bin().join(name);
        let _ = fs::remove_file(&path);
        write_executable(&path, text);
    }

    fn run(&self, script: &str, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
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

    fn set_up(&self, variables: &[(&str, &str)]) -> Outcome {
        self.run("setup.sh", &[], variables)
    }

    fn installs(&self) -> usize {
        fs::read_to_string(self.dir.path().join("installs")).map_or(0, |log| log.lines().count())
    }

    fn has(&self, path: &str) -> bool {
        self.root().join(path).exists()
    }
}

impl Outcome {
    fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self
    }

    /// Fails in one line that holds all of `parts`.
    fn fails_with(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.text);
        let last = self.text.lines().last().unwrap_or_default();
        for part in parts {
            assert!(last.contains(part), "`{part}` is not in: {}", self.text);
        }
    }
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = ["/usr/bin", "/bin"].map(PathBuf::from);
    let mut places = system.into_iter().chain(std::env::split_paths(&path));
    places.find_map(|place| Some(place.join(name)).filter(|file| file.is_file()))
}

fn write_executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn every_missing_program_is_named_with_its_command() {
    let apt = |machine: Machine| {
        machine.program("apt-get", "exit 1");
        machine
    };
    let cases: [(&str, &[&str]); 5] = [
        ("cargo", &["cargo is not found", "sh.rustup.rs"]),
        ("rustc", &["rustc is not found", "sh.rustup.rs"]),
        ("c++", &["no C++ compiler (c++)", "apt-get install -y g++"]),
        ("cc", &["no C compiler (cc)", "apt-get install -y gcc"]),
        (
            "python3",
            &[
                "python3 is not found",
                "apt-get install -y python3 python3-venv",
            ],
        ),
    ];
    for (program, expected) in cases {
        apt(Machine::new().without(program))
            .set_up(&[])
            .fails_with(expected);
    }
    let fedora = Machine::new().without("c++");
    fedora.program("dnf", "exit 1");
    fedora.set_up(&[]).fails_with(&["dnf install -y gcc-c++"]);
}

#[test]
fn what_is_too_old_or_too_small_is_named_with_what_is_needed() {
    let with = |name: &str, script: &str| {
        let machine = Machine::new();
        machine.program(name, script);
        machine.set_up(&[])
    };
    with("rustc", "echo 'rustc 1.75.0 (x)'").fails_with(&["rustc is 1.75.0, and 1.89 or newer"]);
    with("getconf", "exit 1").fails_with(&["no glibc"]);
    with("getconf", "echo glibc 2.17").fails_with(&["glibc 2.17 is older than the 2.28"]);
    with("uname", "echo Darwin").fails_with(&["Darwin", "WSL"]);
    with(
        "c++",
        "echo 'error: unrecognized option -std=c++17' >&2; exit 1",
    )
    .fails_with(&["does not compile C++17", "unrecognized"]);
    let df = "echo head; echo /dev/x 20000000 17000000 3000000 85% /";
    with("df", df).fails_with(&["3 GB of free disk, and 10 GB are needed"]);
    let machine = Machine::new();
    machine
        .set_up(&[("FAKE_PYTHON", "3.8")])
        .fails_with(&["python3 is 3.8, and 3.9 or newer"]);
    machine
        .set_up(&[("FAKE_NO_VENV", "1")])
        .fails_with(&["python3 (3.11) has no venv module", "python3.11-venv"]);
    machine
        .set_up(&[("FAKE_OFFLINE", "1")])
        .fails_with(&["pip cannot reach its package index", "HTTPS_PROXY"]);
    machine
        .set_up(&[("FAKE_TORCH", "2.10.0")])
        .fails_with(&["holds torch 2.10.0, not 2.11.0", "rm -rf"]);
    assert!(!machine.has(".venv/inverse-flow.stamp"));
}

#[test]
fn a_second_run_installs_nothing_and_is_quick() {
    let machine = Machine::new();
    machine.set_up(&[]).succeeds();
    assert_eq!(machine.installs(), 1);
    let link = |name| fs::read_link(machine.root().join(".venv").join(name)).unwrap();
    assert_eq!(
        link("libtorch"),
        Path::new("lib/python3.11/site-packages/torch")
    );
    assert_eq!(
        link("cuda"),
        Path::new("lib/python3.11/site-packages/nvidia/cu13")
    );
    assert!(
        machine.has(".venv/libtorch/lib/libtorch_cpu.so") && machine.has(".venv/cuda/bin/nvcc")
    );
    let start = Instant::now();
    let second = machine.set_up(&[]).succeeds();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!((machine.installs(), second.text.as_str()), (1, ""));
}

#[test]
fn an_interrupted_or_damaged_set_up_is_repaired() {
    let machine = Machine::new();
    assert_ne!(machine.set_up(&[("FAKE_KILL", "1")]).code, Some(0));
    assert!(machine.has(".venv/lib") && !machine.has(".venv/libtorch"));
    let repaired = machine.set_up(&[]).succeeds();
    assert!(repaired.text.contains("interrupted"), "{}", repaired.text);
    assert_eq!(machine.installs(), 2);
    fs::remove_file(machine.root().join(".venv/libtorch")).unwrap();
    machine.set_up(&[]).succeeds();
    assert!(machine.has(".venv/libtorch/version.py"));
    // a Python that the system has removed since
    fs::remove_file(machine.root().join(".venv/bin/python")).unwrap();
    machine.set_up(&[]).succeeds();
    assert!(machine.has(".venv/bin/python") && machine.has(".venv/libtorch/version.py"));
}

#[test]
fn the_users_own_libtorch_and_toolkit_are_taken_or_refused() {
    let machine = Machine::new().without("python3");
    let torch = machine.dir.path().join("torch");
    fs::create_dir_all(torch.join("lib")).unwrap();
    let own = [
        ("LIBTORCH", torch.to_str().unwrap()),
        ("INVERSE_FLOW_CUDA", "0"),
    ];
    machine
        .set_up(&own)
        .fails_with(&["holds no lib/libtorch_cpu.so", "unset LIBTORCH"]);
    fs::write(torch.join("lib/libtorch_cpu.so"), "").unwrap();
    fs::write(torch.join("build-version"), "2.10.0+cpu\n").unwrap();
    machine
        .set_up(&own)
        .fails_with(&["is libtorch 2.10.0+cpu, and 2.11.0 is needed"]);
    fs::write(torch.join("build-version"), "2.11.0+cpu\n").unwrap();
    machine.set_up(&own).succeeds();
    assert!(
        !machine.has(".venv"),
        "nothing was left to install, and there is no Python"
    );

    let toolkit = machine.dir.path().join("cuda");
    let with_toolkit = [own[0], ("CUDA_HOME", toolkit.to_str().unwrap())];
    machine
        .set_up(&with_toolkit)
        .fails_with(&["holds no bin/nvcc", "unset CUDA_HOME"]);
    write_executable(
        &toolkit.join("bin/nvcc"),
        "#!/bin/bash\necho 'Cuda compilation tools, release 11.8, V11.8.89'\n",
    );
    machine
        .set_up(&with_toolkit)
        .fails_with(&["has nvcc 11.8, and 12.8 or newer"]);
    write_executable(
        &toolkit.join("bin/nvcc"),
        "#!/bin/bash\necho 'Cuda compilation tools, release 13.1, V13.1.0'\n",
    );
    machine.set_up(&with_toolkit).succeeds();
    assert!(!machine.has(".venv"));
}

#[test]
fn a_build_without_cuda_brings_no_nvcc_until_it_is_wanted() {
    let machine = Machine::new();
    machine.set_up(&[("INVERSE_FLOW_CUDA", "0")]).succeeds();
    assert!(machine.has(".venv/libtorch") && !machine.has(".venv/cuda"));
    machine.set_up(&[]).succeeds();
    assert!(machine.has(".venv/cuda/bin/nvcc"));
    machine.set_up(&[("INVERSE_FLOW_CUDA", "0")]).succeeds();
    assert_eq!(machine.installs(), 2);
}

#[test]
fn train_fills_in_what_was_not_given_and_passes_the_rest_on() {
    let machine = Machine::new();
    let target = machine.dir.path().join("target");
    let program = "#!/bin/bash\necho \"ran $*\"\n[ \"$2\" != --help ] || exit 0\nrun=${*: -1}\nmkdir -p \"$run/samples\" && : >\"$run/samples/epoch-0001.png\" && : >\"$run/curves.png\"\n";
    write_executable(&target.join("release/inverse-flow"), program);
    let train = |args: &[&str]| {
        machine
            .run(
                "train.sh",
                args,
                &[("CARGO_TARGET_DIR", target.to_str().unwrap())],
            )
            .succeeds()
            .text
    };
    let runs = machine.root().canonicalize().unwrap().join("runs");
    let default = train(&[]);
    assert!(
        default.contains(&format!(
            "ran train --preset quick/inverse-flow --out {}/quick-inverse-flow\n",
            runs.display()
        )),
        "{default}"
    );
    assert!(
        default.contains("quick-inverse-flow/samples/epoch-0001.png")
            && default.contains("quick-inverse-flow/curves.png"),
        "{default}"
    );
    assert!(train(&[]).contains("--out ") && runs.join("quick-inverse-flow-2").exists());
    let model = train(&["--model", "finc", "--epochs", "1"]);
    assert!(
        model.contains("ran train --preset quick/finc --model finc --epochs 1 --out "),
        "{model}"
    );
    let given = machine.dir.path().join("given");
    let given = given.to_str().unwrap();
    let all = train(&["--preset=table3/snf", "--out", given]);
    assert!(
        all.contains(&format!("ran train --preset=table3/snf --out {given}\n")),
        "{all}"
    );
    assert!(train(&["--resume", given]).contains(&format!("ran train --resume {given}\n")));
    assert!(train(&["--epochs", "3", "--help"]).contains("ran train --help\n"));
}

#[test]
fn test_and_gpu_scripts_refuse_what_they_cannot_do() {
    let machine = Machine::new();
    let unknown = machine.run("test.sh", &["clipy"], &[]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.text);
    assert!(
        unknown.text.contains("no step is called clipy"),
        "{}",
        unknown.text
    );
    machine
        .run("gpu_check.sh", &[], &[])
        .fails_with(&["so it is no bundle", "gpu_bundle.sh"]);
    if !Path::new("/dev/nvidia0").exists() {
        write_executable(&machine.root().join("bin/inverse-flow"), "#!/bin/bash\n");
        machine
            .run("gpu_check.sh", &[], &[])
            .fails_with(&["no NVIDIA GPU", "--gpus all"]);
    }
    machine
        .run("kernel_resources.sh", &["90"], &[])
        .fails_with(&["90 is no architecture"]);
    machine
        .run("kernel_resources.sh", &[], &[])
        .fails_with(&["holds no .cu file"]);
}

#[test]
fn every_breach_of_the_layers_is_found() {
    let clean = "//! Talks of crate::train and unsafe code.\nuse crate::{error, ops::Corner};\n";
    let breaches = [
        (
            "use crate::train::Trainer;\n",
            "src/flows must not import crate::train",
        ),
        (
            "use crate::{ops, models::Flow};\n",
            "src/flows must not import crate::models",
        ),
        (
            "use crate::{\n    ops,\n    cli::main,\n};\n",
            "src/flows must not import crate::cli",
        ),
        ("fn f() { unsafe { g() } }\n", "unsafe code belongs in"),
        (
            "use cudarc::driver::sys;\n",
            "cudarc and torch_sys belong in",
        ),
        ("fn f() { println!(\"x\"); }\n", "neither prints nor exits"),
        ("fn f() { todo!() }\n", "nor leaves work undone"),
        ("// TODO: later\n", "a note to self"),
    ];
    let machine = Machine::new();
    let tree = machine.dir.path().join("tree");
    let check = |text: &str| {
        fs::create_dir_all(tree.join("src/flows")).unwrap();
        fs::write(tree.join("src/flows/mod.rs"), text).unwrap();
        machine.run("check_layers.sh", &[tree.to_str().unwrap()], &[])
    };
    check(clean).succeeds();
    for (text, rule) in breaches {
        let outcome = check(text);
        assert_eq!(outcome.code, Some(1), "{text}: {}", outcome.text);
        assert!(outcome.text.contains(rule), "{text}: {}", outcome.text);
    }
    assert!(check(&"\n".repeat(401)).text.contains("at most 400 lines"));
}
