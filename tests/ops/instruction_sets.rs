//! Every instruction set of the machine gives the specification's numbers, and a wrong wish is an error.
//!
//! The set is chosen once for a process, so the first test below is run again in processes of its own.

use crate::cpu::cpu;
use crate::ops_cases::{cases, random, Case};
use crate::process::again;
use inverse_flow::ops::{instruction_set, inv_conv2d, masked_conv2d, reference, Corner};
use std::process::Output;
use tch::{Kind, Tensor};

const VARIABLE: &str = "INVERSE_FLOW_SIMD";

#[test]
fn cpu_the_chosen_set_agrees_with_the_twin() {
    if !cpu("cpu_the_chosen_set_agrees_with_the_twin") {
        return;
    }
    let set = instruction_set().unwrap();
    println!("chosen: {set}");
    let mut all = cases();
    all.push(Case::new([17, 12, 10, 9], 3, &[Corner::TopLeft])); // tiles and strips, several blocks of outputs
    all.push(Case::new([1, 7, 34, 3], 3, &[Corner::BottomLeft])); // several strips
    for case in all {
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-5)] {
            for solve in [true, false] {
                let (x, w) = case.tensors(kind, 1);
                let cotangent = random(&x.size(), kind, 2);
                let run = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
                    let (x, w) = (
                        x.detach().set_requires_grad(true),
                        w.detach().set_requires_grad(true),
                    );
                    let y = f(&x, &w);
                    (&y * &cotangent).sum(kind).backward();
                    [y.detach(), x.grad(), w.grad()]
                };
                let corners = &case.corners;
                let got = run(&|x, w| match solve {
                    true => inv_conv2d(x, w, corners).unwrap(),
                    false => masked_conv2d(x, w, corners).unwrap(),
                });
                let expected = run(&|x, w| match solve {
                    true => reference::solve(x, w, corners, false).unwrap(),
                    false => reference::conv(x, w, corners, false).unwrap(),
                });
                for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    if got.numel() == 0 {
                        continue;
                    }
                    let largest = |t: &Tensor| t.abs().max().double_value(&[]);
                    let error = largest(&(got - expected)) / (1.0 + largest(expected));
                    assert!(
                        error < tolerance,
                        "{set}: output {index}, solve: {solve}, {kind:?}, {case:?}: {error:e}"
                    );
                }
            }
        }
    }
}

/// The test above in a process of its own, with the variable set to `value`.
fn with_set(value: &str) -> Output {
    again(module_path!(), "cpu_the_chosen_set_agrees_with_the_twin")
        .env(VARIABLE, value)
        // several processes at once, whose threads would wait for each other; threads.rs has the threads
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sets that the CPU has, asked of the standard library.
fn machine_has(set: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    match set {
        "avx2" => return is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        "avx512" => return is_x86_feature_detected!("avx512f"),
        _ => {}
    }
    set == "baseline"
}

#[test]
fn cpu_every_instruction_set_agrees_with_the_twin() {
    if !cpu("cpu_every_instruction_set_agrees_with_the_twin") {
        return;
    }
    for set in ["baseline", "avx2", "avx512"] {
        let output = with_set(set);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if machine_has(set) {
            assert!(output.status.success(), "{set}: {out}{err}");
            assert!(out.contains(&format!("chosen: {set}\n")), "{set}: {out}");
        } else {
            assert!(!output.status.success());
            assert!(
                err.contains(&format!("{VARIABLE}={set}: this machine has")),
                "{err}"
            );
        }
    }
}

#[test]
fn cpu_an_unknown_instruction_set_is_an_error_of_the_operator() {
    if !cpu("cpu_an_unknown_instruction_set_is_an_error_of_the_operator") {
        return;
    }
    let output = with_set("sse9");
    assert!(!output.status.success());
    let err = text(&output.stderr);
    assert!(
        err.contains("INVERSE_FLOW_SIMD=sse9: this machine has the instruction sets baseline"),
        "{err}"
    );
}
