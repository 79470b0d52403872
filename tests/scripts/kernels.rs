//! scripts/kernel_resources.sh looks at what a build has noted about its kernels.

use crate::machine::*;
use std::fs;

/// A build: cargo names the folder of its table after those of other crates, and of other builds that came before.
const CARGO: &str = r#"
echo '{"reason":"build-script-executed","package_id":"registry+https://x#ring@0.17.0","out_dir":"/nowhere"}'
echo '{"reason":"build-script-executed","package_id":"path+file:///x/inverse-flow-2#inverse-flow@0.1.0","cfgs":[],"out_dir":"'"$BUILT"'"}'
echo '{"reason":"compiler-artifact","package_id":"path+file:///x#inverse-flow@0.1.0","executable":null}'"#;

const TABLE: &str = "\
# Cuda compilation tools, release 13.0, V13.0.88
sm_90\t122\t0\t0\t0\t0\t0\t384\tinv_conv_solve_f32
sm_90\t64\t0\t8\t0\t0\t0\t128\tspline_knots_f64
sm_120\t126\t0\t0\t0\t0\t0\t384\tinv_conv_solve_f32
";

const PAGE: &str = "\
# A page

```text
sm_90, nvcc 13.0
registers  shared B   const B stack B spill store B spill load B  kernel
      122         0         0       0             0            0  inv_conv_solve_f32
       64         0         8       0             0            0  spline_knots_f64
2 kernels, 0 bytes of spills
```
";

#[test]
fn spills_and_stacks_and_a_page_that_is_not_true_are_found() {
    let machine = Machine::new();
    machine.program("cargo", CARGO);
    let built = machine.dir.path().join("built");
    fs::create_dir(&built).unwrap();
    fs::create_dir(machine.root().join("docs")).unwrap();
    let page = machine.root().join("docs/performance-gpu.md");
    let run = |table: &str, shown: &str, arguments: &[&str]| {
        fs::write(built.join("resources.tsv"), table).unwrap();
        fs::write(&page, shown).unwrap();
        let variables = [("BUILT", built.to_str().unwrap())];
        machine.run("kernel_resources.sh", arguments, &variables)
    };
    let all = run(TABLE, PAGE, &["--all"]).succeeds().text;
    let expected =
        "sm_90: 2 kernels, 122 registers at most\nsm_120: 1 kernel, 126 registers at most\n";
    assert_eq!(all, expected);
    let table = run(TABLE, PAGE, &[]).succeeds().text;
    assert!(PAGE.contains(&table), "{table}");
    let two = run(TABLE, PAGE, &["sm_120", "sm_90"]).succeeds().text;
    assert!(
        two.ends_with(&table) && two.starts_with("sm_120, nvcc 13.0\n"),
        "{two}"
    );

    for (kernel, line) in [
        (
            "sm_120\t126\t0\t0\t0\t8\t12",
            "sm_120: inv_conv_solve_f32 has 0 bytes of stack, 8 and 12 of spills",
        ),
        (
            "sm_120\t126\t0\t0\t16\t0\t0",
            "sm_120: inv_conv_solve_f32 has 16 bytes of stack, 0 and 0 of spills",
        ),
    ] {
        let spilling = TABLE.replace("sm_120\t126\t0\t0\t0\t0\t0", kernel);
        let outcome = run(&spilling, PAGE, &["--all"]);
        assert!(outcome.text.contains(line), "{}", outcome.text);
        outcome.fails_with(&["kernels keep registers or arrays in local memory"]);
        run(&spilling, PAGE, &["sm_90"]).succeeds();
        assert_eq!(run(&spilling, PAGE, &["sm_120"]).code, Some(1));
    }
    for shown in [
        PAGE.replace("122", "121"),
        PAGE.replace("2 kernels", "3 kernels"),
    ] {
        run(TABLE, &shown, &["--all"]).fails_with(&["docs/performance-gpu.md", "other numbers"]);
    }
    // another release of nvcc makes other code
    run(
        &TABLE.replace("13.0, V", "12.9, V"),
        &PAGE.replace("122", "121"),
        &["--all"],
    )
    .succeeds();

    run(TABLE, PAGE, &["sm_100"]).fails_with(&[
        "no sm_100, but sm_90, sm_120",
        "INVERSE_FLOW_CUDA_ARCHS=100",
    ]);
    run(TABLE, PAGE, &["90"]).fails_with(&["90 is no architecture"]);
    run(TABLE, PAGE, &["--all", "sm_90"]).fails_with(&["--all stands alone"]);
    assert_eq!(run("", PAGE, &["--all"]).code, Some(77));
    fs::remove_file(built.join("resources.tsv")).unwrap();
    machine
        .run("kernel_resources.sh", &[], &[])
        .fails_with(&["no build to look at"]);
}
