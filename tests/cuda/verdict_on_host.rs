//! The CUDA kernel that decides whether a training step is taken, run on the host, against its rules, written down again.

use crate::host_cuda::{launch, Config};
use inverse_flow::cuda::verdict::{VerdictParams, LAUNCH, TOTALS};

/// Totals, skip and scale after each of the steps.
fn on_host(steps: &[[f32; 2]], numbers: VerdictParams) -> Vec<([f64; TOTALS], f32, f32)> {
    // what lies there before the first step must not matter
    let mut totals = [f64::NAN; TOTALS];
    let mut after = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let mut out = [f32::NAN; 2];
        let [skip, scale] = [0, 1].map(|i| &raw mut out[i] as u64);
        let params = VerdictParams {
            nll: &raw const step[0] as u64,
            grad_norm: &raw const step[1] as u64,
            totals: totals.as_mut_ptr() as u64,
            skip,
            scale,
            starts: i32::from(number == 0),
            ..numbers
        };
        let config = Config {
            grid: LAUNCH.grid,
            block: LAUNCH.block,
            shared_bytes: LAUNCH.shared_bytes,
            order: number as u32,
            resident: 1,
        };
        // SAFETY: the parameters of this kernel, with addresses of numbers that outlive the call.
        unsafe { launch("launch_verdict", LAUNCH.kernel, &params, &config) }.unwrap();
        after.push((totals, out[0], out[1]));
    }
    after
}

const NUMBERS: VerdictParams = VerdictParams {
    nll: 0,
    grad_norm: 0,
    totals: 0,
    skip: 0,
    scale: 0,
    in_row: 0.0,
    most_in_row: 10.0,
    clip_norm: 0.0,
    starts: 0,
};

#[test]
fn sums_are_over_the_steps_that_are_taken() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let steps = [
        [3.5, 0.25],
        [nan, 1.0],
        [-1e30, 2.0],
        [2.0, inf],
        [-inf, 0.0],
        [0.0, 0.0],
    ];
    let numbers = VerdictParams {
        in_row: 4.0,
        clip_norm: 0.7,
        ..NUMBERS
    };
    let after = on_host(&steps, numbers);
    let skips: Vec<_> = after.iter().map(|(_, skip, _)| *skip).collect();
    assert_eq!(skips, [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    let scales: Vec<_> = after.iter().map(|(_, _, scale)| *scale).collect();
    assert_eq!(scales, [1.0, 1.0, 2.0 / 0.7, 1.0, 1.0, 1.0]);
    // steps, taken, sums, the last one's, in a row, stopped at
    let (nll, norm) = (3.5 - f64::from(1e30f32), 2.25);
    let in_row: Vec<_> = after.iter().map(|(totals, ..)| totals[6]).collect();
    assert_eq!(in_row, [0.0, 1.0, 0.0, 1.0, 2.0, 0.0]);
    let fifth = [5.0, 2.0, nll, norm, f64::NEG_INFINITY, 0.0, 2.0, 0.0];
    assert_eq!(after[4].0, fifth);
    assert_eq!(after[5].0, [6.0, 3.0, nll, norm, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn too_many_in_a_row_stop_all_that_follow() {
    let bad = [f32::NAN, 1.0];
    let steps = [bad, bad, [1.0, 1.0], bad, [2.0, 2.0]];
    let numbers = VerdictParams {
        in_row: 8.0,
        ..NUMBERS
    };
    let after = on_host(&steps, numbers);
    assert!(after.iter().all(|(_, skip, _)| *skip == 1.0));
    let (totals, ..) = after[4];
    assert_eq!(totals[..4], [5.0, 0.0, 0.0, 0.0]);
    assert!(totals[4].is_nan());
    assert_eq!(totals[5..], [1.0, 10.0, 2.0]);
    // one less is no reason to stop
    let numbers = VerdictParams {
        in_row: 7.0,
        ..NUMBERS
    };
    let skips: Vec<_> = on_host(&steps, numbers)
        .iter()
        .map(|(_, skip, _)| *skip)
        .collect();
    assert_eq!(skips, [1.0, 1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn without_a_limit_no_gradient_is_divided() {
    let after = on_host(&[[1.0, 1e30]], NUMBERS);
    assert_eq!((after[0].1, after[0].2), (0.0, 1.0));
}
