//! The scripts: what they say on machines that lack something, and that they can be run again and after
//! an interruption.

mod first_build;
mod gpu_bundle;
mod gpu_check;
mod kernels;
mod layers;
mod machine;

use machine::*;
use std::fs;
use std::path::Path;

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
fn a_second_run_installs_nothing_and_starts_nothing_slow() {
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
    // what is slow would note a second install
    let slow = "echo \"started: $0 $*\" >>\"$FAKE_LOG\"";
    for name in ["python3", "c++", "cc", "cargo", "df"] {
        machine.program(name, slow);
    }
    let python = machine.root().join(".venv/bin/python");
    write_executable(&python, &format!("#!/bin/bash\n{slow}\n"));
    let second = machine.set_up(&[]).succeeds();
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
fn an_unknown_step_is_refused() {
    let machine = Machine::new();
    let unknown = machine.run("test.sh", &["clipy"], &[]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.text);
    assert!(
        unknown.text.contains("no step is called clipy"),
        "{}",
        unknown.text
    );
}

/// What a Python does for the wheel that the tests run on, as cases of a shell: it packs an empty one, makes an environment
/// with a copy of itself, and says where that has its packages.
const PACKS: &str = r#"*'pip wheel '*) while [ $# -gt 0 ]; do [ "$1" != --wheel-dir ] || : >"$2/a.whl"; shift; done ;;
*'-m venv '*) mkdir -p "${!#}/bin" && cp "$0" "${!#}/bin/python" ;;
*get_path*) mkdir -p "${0%/*}/../site" && cd "${0%/*}/../site" && pwd ;;"#;

#[test]
fn the_closing_line_counts_tests_and_a_skipped_one_is_not_passed() {
    let machine = Machine::new();
    machine.set_up(&[]).succeeds();
    let closing = |step: &str, tests: &str| {
        machine.program("cargo", tests);
        let outcome = machine.run("test.sh", &[step], &[]);
        let last = outcome.text.lines().last().unwrap_or_default();
        (outcome.code, last.to_owned(), outcome.text)
    };
    let result = |passed, failed, ignored| {
        format!("echo 'test result: ok. {passed} passed; {failed} failed; {ignored} ignored; 0 measured'\n")
    };
    let tests = [
        &result(3, 0, 0),
        "echo 'test a::b ... ignored, needs x'\n",
        "echo 'test src/lib.rs - (line 66) ... ignored'\n",
        &result(20, 0, 2),
        "echo 'skipped: c: needs y' >>\"$INVERSE_FLOW_SKIPPED_TESTS\"\n",
    ];
    let (code, last, text) = closing("lib", &tests.concat());
    assert_eq!(
        (code, &*last),
        (Some(0), "22 passed, 0 failed, 2 skipped"),
        "{text}"
    );
    for line in ["skipped: a::b: ignored, needs x\n", "skipped: c: needs y\n"] {
        assert!(text.contains(line), "{text}");
    }
    let (code, last, text) = closing("lib", &(result(3, 2, 0) + "exit 101"));
    assert_eq!(
        (code, &*last),
        (Some(1), "3 passed, 2 failed, 0 skipped"),
        "{text}"
    );
    let (code, last, text) = closing("lib", "echo 'error: no such crate'; exit 101");
    assert_eq!(
        (code, &*last),
        (Some(1), "0 passed, 1 failed, 0 skipped"),
        "{text}"
    );
    let (code, last, text) = closing("fmt", "exit 0");
    assert_eq!(
        (code, &*last),
        (Some(0), "1 passed, 0 failed, 0 skipped"),
        "{text}"
    );

    fs::create_dir_all(machine.root().join("tests/python")).unwrap();
    fs::write(machine.root().join("tests/python/test_it.py"), "").unwrap();
    let python = |verdict: &str| {
        let text = format!(
            "#!/bin/bash\ncase \"$*\" in\n*' unittest '*) echo \"test_d (it.T.test_d) ... skipped 'no GPU'\"; {verdict} ;;\n{PACKS}\nesac\n"
        );
        write_executable(&machine.root().join(".venv/bin/python"), &text);
        closing("python", "exit 0")
    };
    let (code, last, text) = python("echo 'Ran 9 tests in 0.1s'; echo 'OK (skipped=1)'");
    assert_eq!(
        (code, &*last),
        (Some(0), "8 passed, 0 failed, 1 skipped"),
        "{text}"
    );
    let line = "skipped: test_d (it.T.test_d): no GPU\n";
    assert!(text.contains(line), "{text}");
    let failed = "echo 'FAILED (failures=2, errors=1, skipped=1)'; exit 1";
    let (code, last, text) = python(&format!("echo 'Ran 9 tests in 0.1s'; {failed}"));
    assert_eq!(
        (code, &*last),
        (Some(1), "5 passed, 3 failed, 1 skipped"),
        "{text}"
    );
}
