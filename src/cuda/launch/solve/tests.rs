//! What plans promise.

use super::*;
use crate::problem::geometry;

const KIB: usize = 1024;
/// Dynamic shared memory of a block: H100 and H200, A100, and the smallest card that has kernels.
const H200: usize = 227 * KIB;
const DEVICES: [usize; 3] = [H200, 163 * KIB, 64 * KIB];

fn plan(image: [i64; 4], kernel: i64, kind: Kind, shared: usize) -> SolvePlan {
    let geometry = geometry(image, 1, kernel);
    solve_plan(&geometry, kind, &[Corner::TopLeft], false, shared).unwrap()
}

/// Bands, rows of a band, diagonals of a chunk, threads.
fn cut(plan: &SolvePlan) -> [i64; 4] {
    let p = &plan.params;
    [p.bands, p.band_rows, p.chunk, plan.launch.block[0] as i32].map(i64::from)
}

#[test]
fn the_shapes_of_the_bench_run_as_planned() {
    // image, filter, kernel, [bands, rows of a band, diagonals of a chunk, threads] on an H200
    let plans: [([i64; 4], i64, &str, [i64; 4]); 15] = [
        (
            [100, 4, 14, 14],
            3,
            "inv_conv_solve_f32_k3_n4",
            [1, 14, 16, 64],
        ),
        (
            [100, 16, 7, 7],
            3,
            "inv_conv_solve_f32_k3_n16",
            [1, 7, 14, 128],
        ),
        (
            [100, 12, 16, 16],
            2,
            "inv_conv_solve_f32_k2_n12",
            [1, 16, 16, 192],
        ),
        (
            [100, 12, 16, 16],
            3,
            "inv_conv_solve_f32_k3_n12",
            [1, 16, 16, 192],
        ),
        (
            [100, 12, 16, 16],
            5,
            "inv_conv_solve_f32_k5_j2",
            [1, 16, 16, 192],
        ),
        (
            [100, 12, 16, 16],
            7,
            "inv_conv_solve_f32_k7_j2",
            [1, 16, 16, 384],
        ),
        (
            [100, 12, 16, 16],
            11,
            "inv_conv_solve_f32_k11_j2",
            [1, 16, 16, 384],
        ),
        (
            [100, 24, 8, 8],
            3,
            "inv_conv_solve_f32_k3_n24",
            [1, 8, 16, 384],
        ),
        (
            [100, 48, 8, 8],
            3,
            "inv_conv_solve_f32_k3_n48",
            [1, 8, 16, 384],
        ),
        (
            [100, 12, 32, 32],
            3,
            "inv_conv_solve_f32_k3_n12",
            [1, 32, 16, 384],
        ),
        (
            [100, 12, 64, 64],
            3,
            "inv_conv_solve_f32_k3_n12",
            [2, 32, 8, 384],
        ),
        (
            [16, 12, 128, 128],
            3,
            "inv_conv_solve_f32_k3_n12",
            [8, 16, 8, 192],
        ),
        (
            [8, 12, 256, 256],
            3,
            "inv_conv_solve_f32_k3_n12",
            [16, 16, 8, 192],
        ),
        (
            [1, 12, 16, 16],
            3,
            "inv_conv_solve_f32_k3_n12",
            [1, 16, 16, 192],
        ),
        (
            [1, 48, 64, 64],
            3,
            "inv_conv_solve_f32_k3_n48",
            [32, 2, 4, 384],
        ),
    ];
    let page = include_str!("../../../../docs/performance-gpu.md");
    for (image, kernel, name, expected) in plans {
        let plan = plan(image, kernel, Kind::Float, H200);
        assert_eq!(plan.launch.kernel, name, "{image:?} {kernel}");
        assert_eq!(cut(&plan), expected, "{image:?} {kernel}");
        let matrices = match plan.solver {
            Solver::Registers { shape, .. } => format!("registers, n {}", shape.channels()),
            Solver::Side { rows, .. } | Solver::Shared { rows, .. } => {
                format!("shared, J {rows}, {} teams", plan.params.tap_teams)
            }
            Solver::Wide => unreachable!(),
        };
        let ([b, c, h, w], [bands, rows, _, threads]) = (image, expected);
        let row = format!(
            "| {b}x{c}x{h}x{w}, {kernel} | {matrices} | {bands} x {rows} rows, {threads} |"
        );
        assert!(page.contains(&row), "docs/performance-gpu.md has no {row}");
    }
}

#[test]
fn every_plan_covers_the_image_within_the_limits() {
    for shared in DEVICES {
        for kind in [Kind::Float, Kind::Double] {
            for kernel in [1, 2, 3, 4, 5, 11, 40] {
                for image in [
                    [1, 1, 1, 1],
                    [3, 5, 1, 300],
                    [2, 12, 300, 1],
                    [100, 12, 16, 16],
                    [1, 48, 64, 64],
                    [2, 100, 9, 31],
                    [1, 500, 4, 4],
                    [8, 12, 256, 256],
                ] {
                    let geometry = geometry(image, 1, kernel);
                    let limits = SolveLimits::of_device(shared);
                    let plans = solve_plans(&geometry, kind, &[Corner::TopLeft], true, &limits);
                    for plan in plans.unwrap() {
                        check(&plan, image, shared);
                    }
                }
            }
        }
    }
}

fn check(plan: &SolvePlan, [batch, _, height, _]: [i64; 4], shared: usize) {
    let p = &plan.params;
    let [bands, band_rows, _, threads] = cut(plan);
    assert!(plan.launch.shared_bytes as usize <= shared, "{plan:?}");
    assert!(threads % 32 == 0 && threads >= plan.row_threads, "{plan:?}");
    assert_eq!(i64::from(plan.launch.grid[0]), batch * bands, "{plan:?}");
    if plan.solver == Solver::Wide {
        assert_eq!((bands, plan.progress_words), (1, 0));
        return;
    }
    let most = match plan.solver {
        Solver::Registers { shape, .. } => shape.threads,
        _ => 384,
    };
    assert!(threads <= most && p.chunk >= 1, "{plan:?}");
    assert!(bands * band_rows >= height, "{plan:?}");
    assert!((bands - 1) * band_rows < height, "{plan:?}");
    // taps reach into the band before at most
    assert!(
        bands == 1 || band_rows >= i64::from(p.tap_rows) - 1,
        "{plan:?}"
    );
    let words = if bands > 1 { 1 + batch * bands } else { 0 };
    assert_eq!(plan.progress_words as i64, words, "{plan:?}");
    if let Solver::Side { rows, .. } | Solver::Shared { rows, .. } = plan.solver {
        assert_eq!(band_rows % rows, 0, "{plan:?}");
    }
}

#[test]
fn what_does_not_fit_is_left_in_global_memory() {
    // the matrices of all taps need 230 KB
    let far = plan([2, 48, 8, 8], 5, Kind::Float, H200);
    assert_eq!(far.params.far_in_shared, 0);
    let near = plan([2, 12, 16, 16], 5, Kind::Float, 64 * KIB);
    assert_eq!(near.params.far_in_shared, 1);
    // not even the nearest taps' fit
    assert_eq!(
        plan([1, 200, 5, 6], 2, Kind::Float, H200).solver,
        Solver::Wide
    );
    assert_eq!(
        plan([1, 60, 5, 6], 2, Kind::Double, 64 * KIB).solver,
        Solver::Wide
    );
}
