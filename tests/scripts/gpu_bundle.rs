//! scripts/gpu_bundle.sh, on machines whose compiler is a script.

use crate::machine::*;
use std::fs;
use std::os::unix::fs::symlink;

/// Builds a program that speaks of the kernels in `$KERNELS`, and names the test programs as cargo does.
const CARGO: &str = r#"
release=$CARGO_TARGET_DIR/release
mkdir -p "$release/deps"
case $1 in
build)
  printf '#!/bin/bash\nprintf "%%s\\n" "{" "\\"name\\": \\"CUDA kernels\\"," "\\"verdict\\": \\"ok\\"," "\\"found\\": \\"%s\\"," "}"\n' \
    "$KERNELS" >"$release/inverse-flow"
  chmod +x "$release/inverse-flow"
  echo library >"$release/libinverse_flow.so"
  ;;
test)
  echo "$*" >>"$CALLS"
  for name in $PROGRAMS; do
    printf '#!/bin/bash\n' >"$release/deps/$name-1" && chmod +x "$release/deps/$name-1"
    echo '{"reason":"compiler-artifact","target":{"kind":["test"],"name":"'"$name"'","src_path":"x"},"profile":{"opt_level":"3","test":true},"executable":"'"$release/deps/$name-1"'"}'
  done
  ;;
esac"#;

#[test]
fn a_bundle_holds_the_tests_of_every_device_and_travels_with_the_checkout() {
    let machine = Machine::new();
    for name in ["install", "tr", "sleep"] {
        symlink(which(name).unwrap(), machine.bin().join(name)).unwrap();
    }
    machine.program("cargo", CARGO);
    let root = machine.root();
    for path in [
        "tests/python/test_operator.py",
        "tests/python/test_package.py",
        "python/setup.py",
        "tests/fixtures/inv_conv.json",
        "README.md",
        "docs/python.md",
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), "").unwrap();
    }
    for (name, text) in [
        ("ops", "#[path = \"../common/device.rs\"]\nmod device;\n"),
        ("flows", "#[path = \"../common/device.rs\"]\nmod device;\n"),
        ("data", "#[path = \"../common/random.rs\"]\nmod random;\n"),
    ] {
        fs::create_dir_all(root.join("tests").join(name)).unwrap();
        fs::write(root.join("tests").join(name).join("main.rs"), text).unwrap();
    }
    let path = |name: &str| machine.dir.path().join(name).display().to_string();
    let (target, calls) = (path("target"), path("calls"));
    machine
        .run("gpu_bundle.sh", &["--all"], &[])
        .fails_with(&["--all is no compute capability", "gpu_bundle.sh 90"]);
    let bundle = |kernels: &str, programs: &str| {
        let variables = [
            ("CARGO_TARGET_DIR", &*target),
            ("CALLS", &calls),
            ("KERNELS", kernels),
            ("PROGRAMS", programs),
        ];
        machine.run("gpu_bundle.sh", &[], &variables)
    };
    bundle("sm_90, PTX for the last", "data flows ops").succeeds();
    assert!(fs::read_to_string(&calls)
        .unwrap()
        .ends_with(" --test=flows --test=ops\n"));
    for (path, there) in [
        ("bin/inverse-flow", true),
        ("bin/libinverse_flow.so", true),
        ("tests/ops", true),
        ("tests/flows", true),
        ("tests/data", false),
        ("scripts/compare_devices.py", true),
    ] {
        assert_eq!(root.join("gpu-bundle").join(path).exists(), there, "{path}");
    }
    bundle("none: this program was built for the CPU only", "flows ops")
        .fails_with(&["the program has no kernels (none: ", "scripts/setup.sh"]);
    bundle("sm_90", "ops").fails_with(&["no program for the tests 'flows'"]);
    // the checkout counts
    fs::File::create(root.join("large"))
        .unwrap()
        .set_len(70 << 20)
        .unwrap();
    machine.program(
        "git",
        "case $1 in ls-files) printf 'large\\0' ;; rev-parse) echo abc ;; esac",
    );
    bundle("sm_90", "flows ops").fails_with(&["the checkout 70 MiB, and at most 60 MiB together"]);
}
