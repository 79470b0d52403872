//! Sums that do not depend on the threads.

use crate::ops::vector::jobs::run_jobs;

/// Partial sums that are kept apart; fixed, so that the order of the sum does not depend on the threads.
const PARTIALS: usize = 16;
/// Elements of one lane's sum in single precision, at most; sums of sums are in double precision.
pub const LANE_SUM: usize = 512;

/// Sums of `len` numbers over pieces of work, in at most [`PARTIALS`] runs of neighbouring pieces: `[run][len]`.
pub fn partial_sums<X>(
    pieces: usize,
    len: usize,
    scratch: impl Fn() -> X + Sync,
    add: impl Fn(&mut X, usize, &mut [f64]) + Sync,
) -> Vec<f64> {
    let runs = pieces.min(PARTIALS);
    let mut partials = vec![0.0; runs * len];
    let jobs: Vec<_> = partials.chunks_mut(len).enumerate().collect();
    run_jobs(jobs, scratch, |scratch, (run, partial)| {
        for piece in pieces * run / runs..pieces * (run + 1) / runs {
            add(scratch, piece, partial);
        }
    });
    partials
}
