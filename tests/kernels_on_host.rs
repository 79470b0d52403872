//! The CUDA kernels, run block by block on the host, against the plain-tensor twin.

mod host_cuda;

use host_cuda::{Config, Run};
use inverse_flow::ops::{reference, Corner, Geometry};
use tch::{Device, Kind, Tensor};

/// Shared memory of a block on the smallest device that the kernels are built for.
const SHARED: usize = 64 * 1024;

/// Batch, channels, groups, rows, columns, filter side: every path of the dispatch, odd and unequal sizes, planes of
/// one row or column, filters larger than the image, one channel per group, more channels or
/// pixels in a diagonal than a warp, more images than chunks.
const CASES: [[i64; 6]; 18] = [
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
];

struct Case {
    corners: Vec<Corner>,
    geometry: Geometry,
    x: Tensor,
    u: Tensor,
    weight: Tensor,
}

/// Random arguments with anchors of a moderate condition, and infinities above their diagonals.
fn case([b, c, g, h, w, k]: [i64; 6], first_corner: usize, kind: Kind) -> Case {
    tch::manual_seed(b + 10 * c + 100 * h + 1000 * w + 10_000 * k);
    let corners: Vec<_> = (0..g as usize)
        .map(|i| Corner::ALL[(first_corner + i) % 4])
        .collect();
    let n = c / g;
    let options = (Kind::Double, Device::Cpu);
    let weight = Tensor::randn([c, n, k, k], options) * (0.5 / (n as f64).sqrt() / k as f64);
    for (group, corner) in (0..g).zip(&corners) {
        let (row, column) = corner.anchor_index(k);
        let mut anchor = weight
            .narrow(0, group * n, n)
            .select(3, column)
            .select(2, row);
        let diagonal = anchor.diagonal(0, 0, 1).sign() + Tensor::randn([n], options) * 0.1;
        let upper = Tensor::full([n, n], f64::INFINITY, options).triu(1);
        let strictly_lower = anchor.tril(-1);
        anchor.copy_(
            &(strictly_lower + upper.where_self(&upper.isinf(), &diagonal.diag_embed(0, 0, 1))),
        );
    }
    let image = [b, c, h, w];
    let x = Tensor::randn(image, options).to_kind(kind);
    let weight = weight.to_kind(kind);
    Case {
        geometry: Geometry::check("test", &x, &weight, &corners).unwrap(),
        u: Tensor::randn(image, options).to_kind(kind),
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

/// Shared memory limits that give every plan of a solve: all in shared memory, only the inverse, nothing.
fn solve_runs(case: &Case) -> [(Run, [i32; 2]); 3] {
    let n = case.geometry.group_channels();
    let bytes = if case.x.kind() == Kind::Float { 4 } else { 8 };
    let inverse = n * (n + case.geometry.height.min(case.geometry.width)) * bytes;
    [
        (Run::within(SHARED), [1, 1]),
        (Run::within(inverse as usize), [1, 0]),
        (Run::within(0), [0, 0]),
    ]
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
    for_all_cases(|case, what| {
        let Case {
            corners, x, weight, ..
        } = case;
        for adjoint in [false, true] {
            let expected = reference::solve(&f64_of(x), &f64_of(weight), corners, adjoint).unwrap();
            for (run, expected_flags) in solve_runs(case) {
                let (got, flags) = host_cuda::solve(x, weight, corners, adjoint, run);
                assert_eq!(flags, expected_flags, "{what}");
                assert_close(
                    &got,
                    &expected,
                    &format!("{what} adjoint {adjoint} {run:?}"),
                );
            }
        }
    });
}

#[test]
fn solve_by_substitution_works_in_shared_memory_too() {
    // the image of 40 channels fits into a limit that their anchor's inverse exceeds
    for adjoint in [false, true] {
        let case = case([2, 40, 1, 2, 3, 2], 1, Kind::Double);
        let run = Run::within(40 * 6 * 8);
        let (got, flags) = host_cuda::solve(&case.x, &case.weight, &case.corners, adjoint, run);
        assert_eq!(flags, [0, 1]);
        let expected = reference::solve(&case.x, &case.weight, &case.corners, adjoint).unwrap();
        assert_close(&got, &expected, "substitution in shared memory");
    }
}

#[test]
fn conv_agrees_with_the_twin() {
    let run = Run::within(SHARED);
    for_all_cases(|case, what| {
        let Case {
            corners, x, weight, ..
        } = case;
        for adjoint in [false, true] {
            let expected = reference::conv(&f64_of(x), &f64_of(weight), corners, adjoint).unwrap();
            let got = host_cuda::conv(x, weight, corners, adjoint, run);
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
            let run = Run::within(shared_limit);
            let got = host_cuda::weight_grad(x, u, geometry.kernel, corners, run);
            assert_close(&got, &expected, &format!("{what} {run:?}"));
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
        let results = |order, one_warp| {
            let mut results = Vec::new();
            for (run, _) in solve_runs(&case) {
                let run = Run {
                    order,
                    one_warp,
                    ..run
                };
                let (solved, _) = host_cuda::solve(x, weight, corners, index % 2 == 0, run);
                results.push(solved);
            }
            let run = Run {
                order,
                one_warp,
                ..Run::within(SHARED)
            };
            results.push(host_cuda::conv(x, weight, corners, index % 2 == 1, run));
            results.push(host_cuda::weight_grad(x, u, geometry.kernel, corners, run));
            results
        };
        let expected = results(0, false);
        for (order, one_warp) in [(1, false), (17, true), (18, false)] {
            for (got, expected) in results(order, one_warp).iter().zip(&expected) {
                assert!(got.equal(expected), "{geometry:?} order {order}");
            }
        }
    }
}

/// Twin: `FaultParams` in tests/host_cuda/faults.cu.
#[repr(C)]
struct FaultParams {
    out: *mut f32,
    fault: i32,
}

/// Runs the faulty kernel with 8 threads.
fn fault(fault: i32, order: u32) -> Result<Vec<f32>, String> {
    let mut out = vec![f32::NAN; 8];
    let params = FaultParams {
        out: out.as_mut_ptr(),
        fault,
    };
    let config = Config {
        grid: [1; 3],
        block: [8, 1, 1],
        shared_bytes: 8 * 4,
        order,
    };
    // SAFETY: `params` is the twin of the launcher's struct; `out` has one element a thread and outlives the call.
    unsafe { host_cuda::launch("launch_fault", "fault", &params, &config) }?;
    Ok(out)
}

#[test]
fn the_fixture_sees_a_missing_barrier() {
    let right: Vec<f32> = (0..8).map(|thread| ((thread + 1) % 8) as f32).collect();
    for order in [0, 1, 17, 18] {
        assert_eq!(fault(0, order).unwrap(), right);
        assert_ne!(fault(1, order).unwrap(), right);
    }
    let bits = |order| {
        fault(1, order)
            .unwrap()
            .iter()
            .map(|x| x.to_bits())
            .collect::<Vec<_>>()
    };
    assert_ne!(bits(0), bits(1));
    assert_ne!(bits(17), bits(18));
}

#[test]
fn the_fixture_sees_divergence_and_writes_beyond_shared_memory() {
    let problem = |kind| fault(kind, 0).unwrap_err();
    assert!(
        problem(2).contains("4 of 8 threads returned while others wait at"),
        "{}",
        problem(2)
    );
    assert!(problem(3).contains("threads wait at"), "{}", problem(3));
    assert!(problem(4).contains("beyond the 32 bytes"), "{}", problem(4));
}
