//! The weight gradient: one correlation per tap, summed over pixels and images.
//!
//! Small images are correlated as the lanes of tiles ([`tiles`]), large ones along lines of pixels ([`lines`]).

mod lines;
mod tiles;

use super::jobs::run_jobs;
use super::simd::{arch, Real};
use super::Sizes;
use crate::ops::{Corner, Geometry};

/// Partial sums that are kept apart; fixed, so that the order of the sum does not depend on the threads.
const PARTIALS: usize = 16;
/// Elements of one lane's sum in single precision, at most; sums of sums are in double precision.
const LANE_SUM: usize = 512;

/// `G = M * Σ u[o,h,w] x[i,h-a,w-b]`, the gradient of `<u, A(W) x>` with respect to `W`.
pub fn weight_grad<T: Real>(
    geometry: &Geometry,
    x: &[T],
    u: &[T],
    corners: &[Corner],
    grad: &mut [T],
) {
    let sizes = Sizes::new(geometry);
    let len = grad.len();
    let partials = if tiles::pays::<T>(&sizes) {
        let tile = T::LANES * sizes.image();
        let scratch = || tiles::Scratch::<T>::new(&sizes);
        partial_sums(
            x.len().div_ceil(tile),
            len,
            scratch,
            |scratch, index, partial| {
                let images = index * tile..((index + 1) * tile).min(x.len());
                let groups = corners
                    .iter()
                    .zip(partial.chunks_exact_mut(sizes.group_weight()));
                for (group, (&corner, grad)) in groups.enumerate() {
                    arch().dispatch(tiles::Correlate {
                        sizes: &sizes,
                        corner,
                        group,
                        x: &x[images.clone()],
                        u: &u[images.clone()],
                        scratch,
                        grad,
                    });
                }
            },
        )
    } else {
        let plan = lines::Plan::new::<T>(&sizes);
        let scratch = || lines::Scratch::<T>::new(&sizes, &plan);
        partial_sums(
            plan.pieces(&sizes),
            len,
            scratch,
            |scratch, index, partial| {
                let groups = corners
                    .iter()
                    .zip(partial.chunks_exact_mut(sizes.group_weight()));
                for (group, (&corner, grad)) in groups.enumerate() {
                    let units = scratch.load(&sizes, &plan, index, group, corner, x, u);
                    arch().dispatch(lines::Correlate {
                        sizes: &sizes,
                        corner,
                        units,
                        scratch,
                        grad,
                    });
                }
            },
        )
    };
    for (index, out) in grad.iter_mut().enumerate() {
        *out = T::from_f64(partials[index..].iter().step_by(len).sum());
    }
}

/// Sums of `len` numbers over pieces of work, in at most [`PARTIALS`] runs of neighbouring pieces: `[run][len]`.
fn partial_sums<X>(
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
