//! scripts/check_layers.sh finds what it is there to find.

use crate::machine::*;
use std::fs;

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
        // SAFETY: there is none, and the check must say so: a text, not code of this file
        ("fn f() { unsafe { g() } }\n", "unsafe code belongs in"),
        (
            "use cudarc::driver::sys;\n",
            "cudarc and torch_sys belong in",
        ),
        ("fn f() { println!(\"x\"); }\n", "neither prints nor exits"),
        ("fn f() { todo!() }\n", "nor leaves work undone"),
        (
            "fn f() { std::fs::write(path, text) }\n",
            "through crate::files only",
        ),
        ("// TODO: later\n", "a note to self"),
    ];
    let machine = Machine::new().with_real("python3");
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

#[test]
fn arrows_that_point_back_and_circles_are_found() {
    let check = |files: &[(&str, &str)]| {
        let machine = Machine::new().with_real("python3");
        let tree = machine.dir.path().join("tree");
        for (name, text) in files {
            let path = tree.join("src").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        machine.run("check_layers.sh", &[tree.to_str().unwrap()], &[])
    };
    // one way within a layer, names that the root offers again, and tests that look at what they test
    check(&[
        ("lib.rs", "pub use error::Error;\n"),
        ("error.rs", "pub struct Error;\n"),
        ("cuda/run.rs", "use crate::{ffi::stream, Error};\n"),
        ("ffi/mod.rs", "pub fn stream() {}\n"),
        ("ops/mod.rs", "use crate::ffi;\nuse crate::cuda::{run};\n"),
        (
            "nn/mod.rs",
            "fn f() { super::ops::g(); crate::autograd::h() }\n",
        ),
    ])
    .succeeds();
    for (file, text, rule) in [
        (
            "ops/mod.rs",
            "use crate::nn::Net;\n",
            "src/ops must not import crate::nn",
        ),
        (
            "ops/a/b.rs",
            "use super::super::super::nn;\n",
            "src/ops must not import crate::nn",
        ),
        (
            "flows/mod.rs",
            "use crate::distributions;\n",
            "src/flows must not import crate::distributions",
        ),
        (
            "ffi/operator.rs",
            "use crate::{\n    error,\n    ops::{inv_conv, Corner},\n};\n",
            "src/ffi must not import crate::ops: src/ffi/operator.rs:1",
        ),
        (
            "cuda/spline.rs",
            "fn f() {\n    crate::ops::g()\n}\n",
            "src/cuda must not import crate::ops: src/cuda/spline.rs:2",
        ),
        (
            "problem.rs",
            "use crate::ffi;\n",
            "src/problem must not import crate::ffi",
        ),
        (
            "models/mod.rs",
            "use crate::data::Dataset;\n",
            "src/models must not import crate::data",
        ),
        (
            "data/mod.rs",
            "use crate::weights;\n",
            "src/data must not import crate::weights",
        ),
        ("zoo/mod.rs", "", "src/zoo is in no layer"),
    ] {
        let outcome = check(&[(file, text)]);
        assert_eq!(outcome.code, Some(1), "{text}: {}", outcome.text);
        assert!(outcome.text.contains(rule), "{text}: {}", outcome.text);
    }
    let circle = check(&[
        ("ffi/mod.rs", "use crate::cuda::run;\n"),
        ("cuda/mod.rs", "pub mod run;\n"),
        ("cuda/run.rs", "use crate::ffi::memory;\n"),
    ]);
    assert_eq!(circle.code, Some(1), "{}", circle.text);
    let expected = "a circle of folders: cuda, ffi; imports at src/cuda/run.rs:1, src/ffi/mod.rs:1";
    assert!(circle.text.contains(expected), "{}", circle.text);
    // a folder's catalogue is no circle, and neither are tests that look at what stands above them
    let plan = [
        ("ops/mod.rs", "mod plan;\npub use plan::Plan;\n"),
        ("ops/tile.rs", "use crate::ops::Plan;\n"),
    ];
    let one_way = "#[cfg(test)]\nmod tests {\n    use super::super::tile;\n}\n";
    check(&[plan[0], plan[1], ("ops/plan.rs", one_way)]).succeeds();
    let circle = check(&[plan[0], plan[1], ("ops/plan.rs", "use super::tile;\n")]);
    assert_eq!(circle.code, Some(1), "{}", circle.text);
    let expected =
        "a circle of files: ops::plan, ops::tile; imports at src/ops/plan.rs:1, src/ops/tile.rs:1";
    assert!(circle.text.contains(expected), "{}", circle.text);
}
