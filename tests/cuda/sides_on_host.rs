//! The kernels that solve for filters of one side, run block by block on the host, against the twin and against the kernels
//! for any side.

use crate::host_cuda::{self, Run};
use crate::kernels_on_host::case;
use inverse_flow::cuda::kernels::{Element, Solver, SIDES};
use inverse_flow::cuda::launch::SolveLimits;
use inverse_flow::ops::reference;
use std::collections::BTreeSet;
use tch::Kind;

/// Batch, channels, groups, rows, columns, filter side: one, two and four rows of pixels a thread for every side, slices of
/// two, three and four channels, channels that do not fill them.
const CASES: [[i64; 6]; 9] = [
    [2, 12, 1, 6, 7, 5],
    [1, 12, 1, 16, 6, 5],
    [1, 16, 1, 24, 5, 5],
    [1, 18, 2, 8, 9, 7],
    [1, 16, 1, 12, 8, 7],
    [1, 15, 1, 24, 7, 7],
    [1, 6, 1, 11, 12, 11],
    [1, 16, 1, 12, 11, 11],
    [1, 13, 1, 24, 11, 11],
];

#[test]
fn kernels_for_one_side_give_the_bits_of_those_for_any_side() {
    let roomy = SolveLimits::of_device(227 * 1024);
    let small = SolveLimits {
        band_rows: 4,
        chunk: 3,
        ..roomy
    };
    let (mut ran, mut in_bands) = (BTreeSet::new(), false);
    for (index, sizes) in CASES.into_iter().enumerate() {
        let case = case(sizes, index % 4, Kind::Float);
        let (x, weight, corners) = (&case.x, &case.weight, &case.corners);
        for adjoint in [false, true] {
            let [x64, weight64] = [x, weight].map(|t| t.to_kind(Kind::Double));
            let expected = reference::solve(&x64, &weight64, corners, adjoint).unwrap();
            let scale = expected.abs().max().double_value(&[]).max(1.0);
            for (limits, order) in [(&roomy, 0), (&small, 17)] {
                let run = Run {
                    order,
                    resident: if order == 0 { 1 } else { 3 },
                    few_threads: order != 0,
                };
                let solved = host_cuda::solve(x, weight, corners, adjoint, limits, run);
                let [(side, got), (any, same), ..] = &solved[..] else {
                    panic!("{sizes:?}: {} plans", solved.len());
                };
                let what = format!("{sizes:?} adjoint {adjoint} {side:?}");
                assert!(matches!(side.solver, Solver::Side { .. }), "{what}");
                assert!(matches!(any.solver, Solver::Shared { .. }), "{any:?}");
                let error = (got.to_kind(Kind::Double) - &expected)
                    .abs()
                    .max()
                    .double_value(&[]);
                // written so that a NaN fails
                assert!(error <= 2e-5 * scale, "{what}: {error:e}");
                assert!(got.equal(same), "{what}");
                ran.insert(side.launch.kernel);
                in_bands |= side.params.bands > 1;
            }
        }
    }
    for kernel in SIDES {
        for rows in [1, 2, 4] {
            let (_, name) = Solver::Side { kernel, rows }.kernel(Element::F32).unwrap();
            assert!(ran.contains(name), "{name}: {ran:?}");
        }
    }
    assert!(in_bands);
}
