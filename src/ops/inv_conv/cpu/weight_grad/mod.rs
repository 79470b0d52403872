//! The weight gradient: one correlation per tap, summed over pixels and images.
//!
//! Small images are correlated as the lanes of tiles ([`tiles`]), large ones along lines of pixels ([`lines`]).

mod lines;
mod sums;
mod tiles;

use super::sizes::Sizes;
use crate::ops::vector::{arch, Real};
use crate::problem::{Corner, Geometry};
use sums::partial_sums;

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
                    arch().dispatch(tiles::CorrelateTiles {
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
        let plan = lines::LinesPlan::new::<T>(&sizes);
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
                    arch().dispatch(lines::CorrelateLines {
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
