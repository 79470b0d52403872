//! The number of threads changes who computes what, and not one bit of it.

use crate::alone::alone;
use crate::ops_cases::{random, Case};
use inverse_flow::ops::{inv_conv2d, masked_conv2d, Corner};
use tch::{Kind, Tensor};

/// Shapes that together take every path of the CPU kernels, in both dtypes: `src/ops/inv_conv/cpu/plan.rs` has the rules.
fn cases() -> Vec<(&'static str, Case)> {
    let one = &[Corner::TopLeft];
    vec![
        ("tiles and strips", Case::new([100, 12, 16, 16], 3, one)),
        ("tiles and one strip", Case::new([17, 12, 16, 16], 2, one)),
        ("several strips", Case::new([1, 12, 40, 9], 3, one)),
        (
            "several strips from below",
            Case::new([3, 5, 40, 11], 3, &[Corner::BottomRight]),
        ),
        ("few images", Case::new([3, 12, 9, 7], 5, one)),
        ("spectra, and strips", Case::new([20, 12, 16, 16], 11, one)),
        ("no strips", Case::new([5, 4, 21, 20], 18, one)),
        ("four corners", Case::new([19, 8, 18, 17], 3, &Corner::ALL)),
        (
            "bands of a tile, lines of a gradient",
            Case::new([16, 12, 70, 33], 3, &[Corner::TopRight]),
        ),
    ]
}

/// A result and both gradients, as bits.
fn run(case: &Case, kind: Kind, std: Option<f64>) -> Vec<(&'static str, Tensor)> {
    let bits = |t: &Tensor| match kind {
        Kind::Float => t.view_dtype(Kind::Int),
        _ => t.view_dtype(Kind::Int64),
    };
    let mut all = Vec::new();
    for (name, operator) in [
        ("solve", inv_conv2d as fn(&_, &_, &_) -> _),
        ("convolution", masked_conv2d),
    ] {
        let (x, w) = match std {
            Some(std) => case.tensors_with_taps(kind, 7, std),
            None => case.tensors(kind, 7),
        };
        let (x, w) = (x.set_requires_grad(true), w.set_requires_grad(true));
        let y: Tensor = operator(&x, &w, &case.corners).unwrap();
        (&y * random(&y.size(), kind, 8)).sum(kind).backward();
        all.push((name, bits(&y.detach())));
        all.push((name, bits(&x.grad())));
        all.push((name, bits(&w.grad())));
    }
    all
}

#[test]
fn cpu_results_are_bit_identical_for_any_number_of_threads() {
    alone(
        module_path!(),
        "cpu_results_are_bit_identical_for_any_number_of_threads",
        with_any_number_of_threads,
    );
}

fn with_any_number_of_threads() {
    let damped = cases().into_iter().map(|(path, case)| (path, case, None));
    let growing = Case::new([20, 12, 16, 16], 7, &[Corner::BottomRight]);
    let growing = ("spectra that are given up", growing, Some(0.2));
    for (path, case, std) in damped.chain([growing]) {
        for kind in [Kind::Float, Kind::Double] {
            let mut first = None;
            for threads in [1, 1, 2, 3, 8, 16] {
                tch::set_num_threads(threads);
                assert_eq!(tch::get_num_threads(), threads);
                let results = run(&case, kind, std);
                let first = first.get_or_insert_with(|| run(&case, kind, std));
                for (index, ((name, got), (_, expected))) in results.iter().zip(first).enumerate() {
                    let what = ["value", "input gradient", "weight gradient"][index % 3];
                    assert!(
                        got.equal(expected),
                        "{path}: {what} of the {name}, {kind:?}, {threads} threads"
                    );
                }
            }
        }
    }
}
