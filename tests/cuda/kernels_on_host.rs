//! The CUDA kernels, run block by block on the host, against the plain-tensor twin.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::host_cuda::{self, Run};
use crate::host_faults::fault;
use crate::random::normal;
use inverse_flow::cuda::kernels::{Element, Solver, REGISTER_SHAPES};
use inverse_flow::cuda::launch::SolveLimits;
use inverse_flow::ops::{reference, Corner, Geometry};
use tch::{Device, Kind, Tensor};

/// Shared memory of a block on the smallest device that the kernels are built for.
const SHARED: usize = 64 * 1024;

/// Batch, channels, groups, rows, columns, filter side: every path of the dispatch, odd and unequal sizes, planes of
/// one row or column, filters larger than the image, one channel per group, more channels or
/// pixels in a diagonal than a warp, more images than chunks.
pub const CASES: [[i64; 6]; 33] = [
    [3, 8, 4, 5, 3, 3],
    [1, 12, 1, 9, 10, 3],
    [2, 6, 2, 4, 7, 2],
    [2, 5, 1, 6, 5, 1],
    [1, 4, 2, 7, 9, 5],
    [2, 3, 1, 9, 8, 7],
    [1, 6, 2, 5, 6, 4],
    [1, 2, 1, 13, 12, 11],
    [2, 4, 4, 1, 7, 3],
    [3, 3, 3, 8, 1, 2],
    [1, 2, 1, 2, 3, 7],
    [2, 2, 1, 1, 1, 5],
    [0, 4, 2, 5, 3, 3],
    [1, 19, 1, 3, 4, 2],
    [7, 3, 1, 3, 35, 3],
    [1, 36, 1, 3, 2, 2],
    [1, 2, 1, 34, 35, 3],
    [7, 2, 1, 2, 3, 40],
    [2, 7, 1, 5, 4, 2],
    [1, 6, 1, 6, 3, 3],
    [1, 11, 1, 4, 5, 2],
    [2, 14, 1, 3, 4, 2],
    [1, 32, 2, 5, 3, 3],
    [1, 20, 1, 20, 3, 3],
    [1, 36, 1, 11, 3, 3],
    [1, 12, 1, 17, 4, 5],
    [1, 17, 1, 3, 4, 4],
    [1, 4, 1, 4, 3, 2],
    [1, 9, 1, 8, 9, 7],
    [1, 21, 1, 4, 3, 3],
    [1, 36, 1, 2, 5, 3],
    [1, 40, 1, 2, 3, 2],
    [1, 24, 1, 8, 3, 2],
];

pub struct Case {
    pub corners: Vec<Corner>,
    pub geometry: Geometry,
    pub x: Tensor,
    pub u: Tensor,
    pub weight: Tensor,
}

/// Random arguments with anchors of a moderate condition, and infinities above their diagonals.
pub fn case([b, c, g, h, w, k]: [i64; 6], first_corner: usize, kind: Kind) -> Case {
    let mut seeds = 100 * (b + 10 * c + 100 * h + 1000 * w + 10_000 * k) as u64..;
    let mut randn = |size: &[i64]| normal(seeds.next().unwrap(), size);
    let corners: Vec<_> = (0..g as usize)
        .map(|i| Corner::ALL[(first_corner + i) % 4])
        .collect();
    let n = c / g;
    let options = (Kind::Double, Device::Cpu);
    let weight = randn(&[c, n, k, k]) * (0.5 / (n as f64).sqrt() / k as f64);
    for (group, corner) in (0..g).zip(&corners) {
        let (row, column) = corner.anchor_index(k);
        let mut anchor = weight
            .narrow(0, group * n, n)
            .select(3, column)
            .select(2, row);
        let diagonal = anchor.diagonal(0, 0, 1).sign() + randn(&[n]) * 0.1;
        let upper = Tensor::full([n, n], f64::INFINITY, options).triu(1);
        let strictly_lower = anchor.tril(-1);
        anchor.copy_(
            &(strictly_lower + upper.where_self(&upper.isinf(), &diagonal.diag_embed(0, 0, 1))),
        );
    }
    let image = [b, c, h, w];
    let x = randn(&image).to_kind(kind);
    let weight = weight.to_kind(kind);
    Case {
        geometry: Geometry::check("test", &x, &weight, &corners).unwrap(),
        u: randn(&image).to_kind(kind),
        corners,
        x,
        weight,
    }
}

fn assert_close(got: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(got.size(), expected.size(), "{what}");
    if got.numel() == 0 {
        return;
    }
    let tolerance = if got.kind() == Kind::Float {
        2e-5
    } else {
        1e-12
    };
    let expected = expected.to_kind(Kind::Double);
    let error = (got.to_kind(Kind::Double) - &expected)
        .abs()
        .max()
        .double_value(&[]);
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    // written so that a NaN fails
    assert!(
        error <= tolerance * scale,
        "{what}: error {error:e} at scale {scale:e}"
    );
}

fn f64_of(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Double)
}

/// Limits of a solve: the device's, bands and chunks as small as can be, and so little shared memory that the far taps'
/// matrices do not fit where there are many.
pub fn solve_limits() -> [SolveLimits; 3] {
    let device = SolveLimits::of_device(SHARED);
    let small = SolveLimits {
        band_rows: 2,
        chunk: 3,
        ..device
    };
    let poor = SolveLimits {
        shared: 6 * 1024,
        ..device
    };
    [device, small, poor]
}

fn for_all_cases(check: impl Fn(&Case, &str)) {
    for sizes in CASES {
        for kind in [Kind::Float, Kind::Double] {
            for first_corner in 0..4 {
                let case = case(sizes, first_corner, kind);
                let what = format!("{:?} {:?} {kind:?}", case.geometry, case.corners);
                check(&case, &what);
            }
        }
    }
}

#[test]
fn solve_agrees_with_the_twin() {
    let (kernels, teams) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    for_all_cases(|case, what| {
        let Case {
            corners, x, weight, ..
        } = case;
        for adjoint in [false, true] {
            let expected = reference::solve(&f64_of(x), &f64_of(weight), corners, adjoint).unwrap();
            for limits in solve_limits() {
                for (plan, got) in
                    host_cuda::solve(x, weight, corners, adjoint, &limits, Run::PLAIN)
                {
                    assert_close(
                        &got,
                        &expected,
                        &format!("{what} adjoint {adjoint} {plan:?}"),
                    );
                    teams.lock().unwrap().insert(plan.params.tap_teams);
                    kernels.lock().unwrap().insert((
                        plan.launch.kernel,
                        plan.params.far_in_shared,
                        plan.params.bands > 1,
                    ));
                }
            }
        }
    });
    // every kernel of the sources ran, in one band and in several, with and without the far matrices in shared memory
    let ran = kernels.into_inner().unwrap();
    assert!(teams.into_inner().unwrap().is_superset(&[1, 2, 4].into()));
    let assert_ran = |name, far_in_shared, bands| {
        let run = (name, far_in_shared, bands);
        assert!(ran.contains(&run), "{run:?}");
    };
    for bands in [false, true] {
        for shape in REGISTER_SHAPES {
            for kernel in [2, 3] {
                let solver = Solver::Registers { shape, kernel };
                assert_ran(solver.kernel(Element::F32).unwrap().1, 0, bands);
            }
        }
    }
    for element in Element::ALL {
        for far_in_shared in [0, 1] {
            for (slices, rows) in [(1, 1), (4, 1), (4, 2), (4, 4)] {
                let (_, name) = Solver::Shared { slices, rows }.kernel(element).unwrap();
                assert_ran(name, far_in_shared, true);
                // an image of few rows has no use for four of them a thread, one of many is cut into bands
                if rows < 4 {
                    assert_ran(name, far_in_shared, false);
                }
            }
        }
        assert_ran(Solver::Wide.kernel(element).unwrap().1, 0, false);
    }
}

#[test]
fn bands_that_run_at_the_same_time_wait_for_each_other() {
    let limits = solve_limits()[1];
    for (sizes, kind) in [
        ([3, 8, 4, 5, 3, 3], Kind::Float),
        ([2, 6, 2, 9, 7, 2], Kind::Float),
        ([1, 5, 1, 11, 6, 4], Kind::Double),
    ] {
        let case = case(sizes, 1, kind);
        let (x, weight, corners) = (&case.x, &case.weight, &case.corners);
        let alone = host_cuda::solve(x, weight, corners, true, &limits, Run::PLAIN);
        for (order, resident) in [(0, 4), (1, 3), (17, 64), (18, 2)] {
            let run = Run {
                order,
                resident,
                ..Run::PLAIN
            };
            let together = host_cuda::solve(x, weight, corners, true, &limits, run);
            for ((plan, got), (_, expected)) in together.iter().zip(&alone) {
                assert!(got.equal(expected), "order {order}: {plan:?}");
            }
        }
        assert!(alone.iter().any(|(plan, _)| plan.params.bands > 1));
    }
}

#[test]
fn the_published_scheme_agrees_with_the_twin() {
    for sizes in [[3, 4, 1, 5, 3, 3], [2, 3, 1, 2, 7, 2], [0, 2, 1, 3, 3, 2]] {
        for kind in [Kind::Float, Kind::Double] {
            for corner in 0..4 {
                let Case {
                    corners, x, weight, ..
                } = case(sizes, corner, kind);
                let expected = reference::solve(&f64_of(&x), &f64_of(&weight), &corners, false);
                let got = host_cuda::baseline(&x, &weight, corners[0], Run::PLAIN);
                assert_close(&got, &expected.unwrap(), &format!("{sizes:?} {corners:?}"));
            }
        }
    }
}

#[test]
fn conv_agrees_with_the_twin() {
    for_all_cases(|case, what| {
        let Case {
            corners, x, weight, ..
        } = case;
        for adjoint in [false, true] {
            let expected = reference::conv(&f64_of(x), &f64_of(weight), corners, adjoint).unwrap();
            let got = host_cuda::conv(x, weight, corners, adjoint, Run::PLAIN);
            assert_close(&got, &expected, &format!("{what} adjoint {adjoint}"));
        }
    });
}

#[test]
fn weight_grad_agrees_with_the_twin() {
    for_all_cases(|case, what| {
        let Case {
            corners,
            x,
            u,
            geometry,
            ..
        } = case;
        let expected =
            reference::weight_grad(&f64_of(x), &f64_of(u), geometry.kernel, corners).unwrap();
        let mask = geometry
            .anchor_mask(corners, x.kind(), Device::Cpu)
            .unwrap();
        // the second limit forces tiles of few pixels
        for shared_limit in [SHARED, 10 * 1024] {
            let got =
                host_cuda::weight_grad(x, u, geometry.kernel, corners, shared_limit, Run::PLAIN);
            assert_close(&got, &expected, &format!("{what} within {shared_limit}"));
            let above = (got * mask.eq(0)).abs().max().double_value(&[]);
            assert_eq!(above, 0.0, "{what}: gradient above the diagonal");
        }
    });
}

#[test]
fn every_order_and_number_of_threads_gives_the_same_bits() {
    for (index, sizes) in CASES.into_iter().enumerate() {
        let kind = [Kind::Float, Kind::Double][index % 2];
        let case = case(sizes, index % 4, kind);
        let Case {
            corners,
            x,
            u,
            weight,
            geometry,
        } = &case;
        let results = |run| {
            let mut results = Vec::new();
            for limits in solve_limits() {
                let solved = host_cuda::solve(x, weight, corners, index % 2 == 0, &limits, run);
                results.extend(solved.into_iter().map(|(_, x)| x));
            }
            results.push(host_cuda::conv(x, weight, corners, index % 2 == 1, run));
            results.push(host_cuda::weight_grad(
                x,
                u,
                geometry.kernel,
                corners,
                SHARED,
                run,
            ));
            results
        };
        let expected = results(Run::PLAIN);
        for (order, few_threads) in [(1, false), (17, true), (18, false)] {
            let run = Run {
                order,
                few_threads,
                ..Run::PLAIN
            };
            for (got, expected) in results(run).iter().zip(&expected) {
                assert!(got.equal(expected), "{geometry:?} order {order}");
            }
        }
    }
}

#[test]
fn the_fixture_sees_a_missing_barrier() {
    let run = |kind, order| fault("fault", kind, order, 1).unwrap();
    let right: Vec<f32> = (0..32).map(|thread| ((thread + 1) % 32) as f32).collect();
    for order in [0, 1, 17, 18] {
        assert_eq!(run(0, order), right);
        assert_ne!(run(1, order), right);
    }
    let bits = |order| {
        let out = run(1, order).into_iter();
        out.map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_ne!(bits(0), bits(1));
    assert_ne!(bits(17), bits(18));
}

#[test]
fn the_fixture_sees_divergence_and_writes_beyond_shared_memory() {
    let problem = |kind| fault("fault", kind, 0, 1).unwrap_err();
    assert!(
        problem(2).contains("16 of 32 threads returned while others wait at"),
        "{}",
        problem(2)
    );
    assert!(problem(3).contains("threads wait at"), "{}", problem(3));
    assert!(
        problem(4).contains("beyond the 128 bytes"),
        "{}",
        problem(4)
    );
}

#[test]
fn the_fixture_runs_shuffles_and_sees_lanes_that_miss_one() {
    let right: Vec<f32> = (0..32).map(|lane| 1111.0 * (lane % 4 + 1) as f32).collect();
    for order in [0, 1, 17, 18] {
        assert_eq!(fault("fault_in_shuffle", 0, order, 1).unwrap(), right);
        let missed = fault("fault_in_shuffle", 1, order, 1).unwrap_err();
        assert!(missed.contains("16 of 32 threads returned"), "{missed}");
        let elsewhere = fault("fault_in_shuffle", 2, order, 1).unwrap_err();
        assert!(elsewhere.contains("threads wait at"), "{elsewhere}");
    }
}

#[test]
fn the_fixture_sees_a_copy_that_is_not_waited_for() {
    let right: Vec<f32> = (1..33).map(|thread| thread as f32).collect();
    assert_eq!(fault("fault_in_copy", 0, 0, 1).unwrap(), right);
    let forgotten = fault("fault_in_copy", 1, 0, 1).unwrap_err();
    assert!(forgotten.contains("nobody waits for"), "{forgotten}");
    let early = fault("fault_in_copy", 2, 0, 1).unwrap();
    assert!(early.iter().all(|value| value.is_nan()), "{early:?}");
}

#[test]
fn the_fixture_runs_blocks_that_wait_for_each_other() {
    let right: Vec<f32> = (0..32).map(|block| block as f32).collect();
    for order in [0, 1, 17, 18] {
        assert_eq!(fault("fault_in_wait", 0, order, 32).unwrap(), right);
    }
    let stuck = fault("fault_in_wait", 1, 0, 32).unwrap_err();
    assert!(stuck.contains("waits for ever"), "{stuck}");
}
