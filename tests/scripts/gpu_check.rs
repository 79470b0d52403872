//! scripts/gpu_check.sh, on machines whose GPU is a script.

use crate::machine::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Notes its call, and does what the program does: what a step gives lies in `$STEPS/DEVICE`.
const PROGRAM: &str = r#"#!/bin/bash
echo "inverse-flow $*" >>"$CALLS"
case $1 in
doctor)
  printf '{"findings": [{"name": "NVIDIA driver", "found": "no driver", "fix": "install one"},\n'
  printf ' {"name": "GPUs", "found": "%s", "fix": null}]}\n' "${CARD-Card X (compute capability 9.0, 80 GiB)}"
  ;;
inspect) printf 'preset  data\nquick/mnist x\nquick/snf x\n' ;;
train)
  while [ $# -gt 0 ]; do
    case $1 in --out) out=$2 ;; --device) device=$2 ;; esac
    shift
  done
  mkdir -p "$out/checkpoints" && cp "$STEPS/$device/metrics.jsonl" "$out/" && cp "$STEPS/$device/last.safetensors" "$out/checkpoints/"
  ;;
bench) echo "{\"bench\": \"$2\"}" ;;
esac
"#;
const TESTS: &str = "#!/bin/bash\necho \"${0##*/} $*\" >>\"$CALLS\"\n";
const PASSED: &str = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'\n";

/// A bundle on a machine with a GPU, torch and the tools.
struct Bundle {
    machine: Machine,
    variables: Vec<(String, String)>,
}

impl Bundle {
    fn new() -> Self {
        let machine = Machine::new().with_real("python3");
        for name in ["timeout", "sleep"] {
            symlink(which(name).unwrap(), machine.bin().join(name)).unwrap();
        }
        let root = machine.root();
        write_executable(&root.join("bin/inverse-flow"), PROGRAM);
        for name in ["cuda", "ops", "flows", "models", "train"] {
            write_executable(&root.join("tests").join(name), &format!("{TESTS}{PASSED}"));
        }
        for name in ["compute-sanitizer", "ncu"] {
            let call = "printf '%s' \"${0##*/}\" >>\"$CALLS\"; printf ' %s' \"$@\" >>\"$CALLS\"; echo >>\"$CALLS\"";
            machine.program(name, call);
        }
        let torch = machine.dir.path().join("modules/torch");
        fs::create_dir_all(&torch).unwrap();
        fs::write(torch.join("__init__.py"), "").unwrap();
        fs::write(torch.join("version.py"), "__version__ = '2.11.0+cu130'\n").unwrap();
        let bundle = Self {
            variables: [
                ("CALLS", "calls"),
                ("STEPS", "steps"),
                ("PYTHONPATH", "modules"),
            ]
            .map(|(name, path)| {
                (
                    name.into(),
                    machine.dir.path().join(path).display().to_string(),
                )
            })
            .into(),
            machine,
        };
        for device in ["cpu", "cuda"] {
            bundle.step(device, "2270.5", 0.25);
        }
        bundle
    }

    /// What one step gives on a device: its loss, and the first of two elements of a parameter's first moment.
    fn step(&self, device: &str, loss: &str, moment: f32) {
        let folder = self.machine.dir.path().join("steps").join(device);
        fs::create_dir_all(&folder).unwrap();
        let line = |split: &str, norm: &str| {
            format!(
                "{{\"step\":1,\"split\":\"{split}\",\"nll_nats\":{loss},\"grad_norm\":{norm}}}\n"
            )
        };
        let metrics = line("train", "18.5") + &line("val", "null");
        fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
        let header = "{\"__metadata__\":{},\"optim.exp_avg.w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\
                      \"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}";
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.bytes());
        for number in [moment, -0.5, 1.0] {
            file.extend(number.to_le_bytes());
        }
        fs::write(folder.join("last.safetensors"), file).unwrap();
    }

    fn run(&self, script: &str, args: &[&str], more: &[(&str, &str)]) -> Outcome {
        let own = self
            .variables
            .iter()
            .map(|(name, value)| (&**name, &**value));
        let all: Vec<_> = own.chain(more.iter().copied()).collect();
        self.machine.run(script, args, &all)
    }

    fn check(&self, more: &[(&str, &str)]) -> Outcome {
        self.run("gpu_check.sh", &[self.out().to_str().unwrap()], more)
    }

    fn out(&self) -> PathBuf {
        self.machine.dir.path().join("out")
    }

    fn summary(&self) -> Vec<String> {
        let text = fs::read_to_string(self.out().join("summary.txt")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Names in `out`, and in the archive in it.
    fn files(&self) -> [Vec<String>; 2] {
        let names = fs::read_dir(self.out()).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let archive = self.out().join("logs.tar.gz");
        let listed = Command::new("tar")
            .arg("tzf")
            .arg(archive)
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        let listed = String::from_utf8(listed.stdout).unwrap();
        let logs = listed
            .lines()
            .filter_map(|line| line.strip_prefix("logs/"))
            .filter(|name| !name.is_empty());
        [names, logs.map(str::to_owned).collect()]
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.machine.dir.path().join("calls")).unwrap()
    }
}

#[test]
fn what_matters_most_is_checked_first_and_few_files_come_back() {
    let bundle = Bundle::new();
    let outcome = bundle.check(&[]).succeeds();
    let parts: Vec<_> = bundle.summary()[1..]
        .iter()
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect();
    let expected = "doctor operators spline steps memcheck memcheck-spline racecheck racecheck-spline bench-op bench-model \
                    ncu ops flows models train training eval python";
    assert_eq!(parts.join(" "), expected, "{}", outcome.text);
    let first = &bundle.summary()[0];
    assert!(
        first.starts_with("OK: 0 failed, 17 passed, 1 skipped; Card X"),
        "{first}"
    );
    let [files, logs] = bundle.files();
    let expected = [
        "bench-model.jsonl",
        "bench-op.jsonl",
        "logs.tar.gz",
        "summary.json",
        "summary.txt",
    ];
    assert_eq!(files, expected);
    assert!(
        logs.len() == 18 && logs.contains(&"racecheck-spline.log".to_owned()),
        "{logs:?}"
    );
    let bench = fs::read_to_string(bundle.out().join("bench-op.jsonl")).unwrap();
    assert_eq!(bench, "{\"bench\": \"op\"}\n");

    let calls = bundle.calls();
    for call in [
        "\ncuda cuda_ --test-threads=1\n",
        "\nops spline --skip cpu_ --test-threads=1\n",
        "\ncompute-sanitizer --tool memcheck --kernel-name kns=inv_conv --error-exitcode 9 tests/cuda cuda_small_shapes ",
        "\ncompute-sanitizer --tool racecheck --kernel-name kns=spline --error-exitcode 9 tests/ops cuda_spline ",
        "\nncu --clock-control none --kernel-name regex:inv_conv_solve ",
        "\ninverse-flow bench op --device cuda --json\n",
        "\nflows --skip cpu_ --test-threads=1\n",
    ] {
        assert!(calls.contains(call), "{call} is not among: {calls}");
    }
}

#[test]
fn a_part_that_fails_or_hangs_or_is_ended_loses_nothing() {
    let bundle = Bundle::new();
    let tests = |script: &str| {
        let path = bundle.machine.root().join("tests/cuda");
        write_executable(&path, &format!("{TESTS}{script}"));
    };
    let line = |part: &str| {
        let summary = bundle.summary();
        let found = summary
            .iter()
            .find(|line| line.split_whitespace().nth(1) == Some(part));
        found
            .cloned()
            .unwrap_or_else(|| panic!("{part} is not in {summary:?}"))
    };
    // what fails comes first, with the end of its log, and the rest goes on
    tests("echo 'cuda_x: 3 is not 4'; exit 101");
    assert_eq!(bundle.check(&[]).code, Some(1));
    assert!(
        bundle.summary()[0].starts_with("FAILED: 1 failed, 16 passed"),
        "{:?}",
        bundle.summary()
    );
    assert!(line("operators").ends_with("exit status 101"));
    assert!(bundle.summary().contains(&"cuda_x: 3 is not 4".to_owned()));
    tests("echo 'test result: ok. 0 passed; 0 failed; 9 filtered out'");
    assert_eq!(bundle.check(&[]).code, Some(1));
    assert!(line("operators").ends_with("no test ran"));

    tests("echo begun; sleep 1000");
    assert_eq!(bundle.check(&[("LIMIT_S", "6")]).code, Some(1));
    assert!(
        line("operators").contains("no end after "),
        "{:?}",
        bundle.summary()
    );
    assert!(line("python").starts_with("skipped") && line("eval").ends_with("no time left"));
    assert!(bundle.summary().contains(&"begun".to_owned()));

    // ended by a signal, while `timeout`, whose parent is the script, waits for the test program
    tests(
        "echo begun; read -r _ _ _ script _ </proc/$PPID/stat; kill -TERM \"$script\"; sleep 1000",
    );
    assert_eq!(bundle.check(&[]).code, Some(143));
    assert!(line("operators").ends_with("stopped by a signal"));
    assert!(line("doctor").starts_with("passed"));
    let [files, logs] = bundle.files();
    assert_eq!((files.len(), logs.len()), (3, 3), "{files:?} {logs:?}");

    // killed on the spot: what was there before the part stands, and what it printed
    tests("echo begun; read -r _ _ _ script _ </proc/$PPID/stat; kill -KILL \"$script\"");
    assert_eq!(bundle.check(&[]).code, None);
    assert!(
        bundle.summary()[0].starts_with("RUNNING: 0 failed, 1 passed"),
        "{:?}",
        bundle.summary()
    );
    assert!(line("operators").contains("running.log"));
    let running = fs::read_to_string(bundle.out().join("running.log")).unwrap();
    assert_eq!(running, "begun\n");
}

#[test]
fn what_is_missing_is_named() {
    let bundle = Bundle::new();
    for name in ["compute-sanitizer", "ncu"] {
        fs::remove_file(bundle.machine.bin().join(name)).unwrap();
    }
    fs::remove_file(bundle.machine.root().join("tests/flows")).unwrap();
    let text = bundle.check(&[]).succeeds().text;
    let installed = Path::new("/usr/local/cuda/bin/ncu").exists();
    for line in [
        "memcheck-spline       0 s  compute-sanitizer is not found",
        "ncu                   0 s  ncu is not found",
    ] {
        assert!(
            installed || text.contains(&format!("skipped  {line}")),
            "{text}"
        );
    }
    assert!(text.contains("the bundle has no tests/flows"), "{text}");

    let emulated = Bundle::new();
    let text = emulated
        .check(&[("CARD", "Emulated GPU of the tests")])
        .succeeds()
        .text;
    assert!(
        text.contains("compute-sanitizer needs a real GPU")
            && text.contains("ncu needs a real GPU"),
        "{text}"
    );
    let calls = emulated.calls();
    assert!(
        calls.contains("bench op --device cuda --json --shape 3,4,5,6,3\n"),
        "{calls}"
    );

    emulated.check(&[("CARD", "none")]).fails_with(&[
        "no GPU here: no driver",
        "install one",
        "--gpus all",
    ]);
    emulated
        .check(&[("PYTHONPATH", "")])
        .fails_with(&["no python3 here has torch"]);
    fs::remove_file(emulated.machine.root().join("bin/inverse-flow")).unwrap();
    emulated
        .check(&[])
        .fails_with(&["so it is no bundle", "gpu_bundle.sh"]);
}

#[test]
fn a_step_that_differs_from_the_cpus_is_found() {
    let bundle = Bundle::new();
    let program = bundle.machine.root().join("bin/inverse-flow");
    let compare = || bundle.run("compare_devices.py", &[program.to_str().unwrap()], &[]);
    let same = compare().succeeds().text;
    assert!(
        same.contains("snf: ok: loss 0.0e+00") && same.contains("1 of 1 families"),
        "{same}"
    );
    for (loss, moment, wrong) in [
        ("2270.6", 0.25, "FAILED (loss): loss 4.4e-05"),
        ("NaN", 0.25, "FAILED (loss, loss after the step): loss nan"),
        ("2270.5", 0.26, "FAILED (gradient): loss 0.0e+00"),
        ("2270.5", f32::NAN, "FAILED (gradient)"),
    ] {
        bundle.step("cuda", loss, moment);
        let outcome = compare();
        assert!(
            outcome.code == Some(1) && outcome.text.contains(wrong),
            "{wrong}: {}",
            outcome.text
        );
    }
    fs::remove_file(bundle.machine.dir.path().join("steps/cuda/metrics.jsonl")).unwrap();
    let outcome = compare();
    assert!(
        outcome.text.contains("snf: FAILED on cuda: ") && outcome.code == Some(1),
        "{}",
        outcome.text
    );
}
