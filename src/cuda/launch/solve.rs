//! The launch plan of a solve: where its matrices are kept, and how an image is cut into bands and chunks.
//!
//! What is planned here is explained in `kernels/inv_conv_band.cuh` and `kernels/inv_conv_product.cuh`. The result of a
//! solve depends on the solver, but to the last bit not on bands, chunks or threads.

mod cut;
mod layout;
#[cfg(test)]
mod tests;

use cut::Cut;
use layout::{layouts, SolveLayout};
use tch::Kind;

pub use cut::SolveLimits;

use super::grid::{div_up, image_groups, whole_warps, Launch, MAX_GRID_X};
use crate::cuda::kernels::{Element, Solver};
use crate::cuda::params::{Shape, SolveParams};
use crate::problem::{Corner, Geometry};
use crate::Result;

const OP: &str = "inv_conv2d";
/// Threads of a block at most of the kernel that fits any size; twin: `kSolveWideThreads`.
const WIDE_THREADS: i64 = 512;

/// Plan of a solve or its adjoint: one launch, and a memset where `progress_words` is not 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolvePlan {
    /// The launch.
    pub launch: Launch,
    /// Its parameters, with `y`, `weight`, `x` and `progress` to be filled in.
    pub params: SolveParams,
    /// What the kernel is.
    pub solver: Solver,
    /// Words of 32 bits, all zero, that `progress` points at.
    pub progress_words: usize,
    /// Threads that share one row of pixels, or those that a thread has: a block has at least as many.
    pub row_threads: i64,
}

/// Plans `reference::solve` for images of dtype `kind`.
///
/// `shared_limit` is the device's dynamic shared memory for a block, in bytes, with opt-in. Any size has a plan.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for a dtype without kernels or sizes beyond the index limits (see
/// [`Shape::new`]).
pub fn solve_plan(
    geometry: &Geometry,
    kind: Kind,
    corners: &[Corner],
    adjoint: bool,
    shared_limit: usize,
) -> Result<SolvePlan> {
    let limits = SolveLimits::of_device(shared_limit);
    let mut plans = solve_plans(geometry, kind, corners, adjoint, &limits)?;
    Ok(plans.swap_remove(0))
}

/// All the plans that fit, the best first; at least one.
///
/// # Errors
/// As [`solve_plan`].
pub fn solve_plans(
    geometry: &Geometry,
    kind: Kind,
    corners: &[Corner],
    adjoint: bool,
    limits: &SolveLimits,
) -> Result<Vec<SolvePlan>> {
    let shape = Shape::new(OP, geometry, corners)?;
    let element = Element::of(OP, kind)?;
    image_groups(OP, geometry)?; // within the grid
    let mut plans = Vec::new();
    for layout in layouts(geometry, element) {
        if let Some(cut) = Cut::find(geometry, &layout, limits) {
            plans.extend(layout.plan(geometry, shape, adjoint, &cut));
        }
    }
    plans.extend(wide_plan(geometry, element, shape, adjoint)?);
    Ok(plans)
}

impl SolveLayout {
    fn plan(
        &self,
        geometry: &Geometry,
        shape: Shape,
        adjoint: bool,
        cut: &Cut,
    ) -> Option<SolvePlan> {
        let (image, kernel) = self.solver.kernel(self.element)?;
        let groups = cut.band_rows / self.rows;
        let most = self.max_threads / self.row_threads;
        // as many rows at once in every round
        let at_once = div_up(groups, div_up(groups, most));
        let blocks = geometry.batch * geometry.groups * cut.bands;
        if blocks > MAX_GRID_X {
            return None;
        }
        let empty = geometry.height * geometry.width == 0;
        Some(SolvePlan {
            launch: Launch {
                image,
                kernel,
                grid: [if empty { 0 } else { blocks as u32 }, 1, 1],
                block: [whole_warps(at_once * self.row_threads) as u32, 1, 1],
                shared_bytes: self.shared_bytes(cut.band_rows, cut.chunk) as u32,
            },
            params: SolveParams {
                bands: cut.bands as i32,
                band_rows: cut.band_rows as i32,
                chunk: cut.chunk as i32,
                tap_rows: self.tap_rows as i32,
                tap_columns: self.tap_columns as i32,
                slice: self.slice as i32,
                far_in_shared: self.far_in_shared.into(),
                tap_teams: self.tap_teams as i32,
                ..unfilled(shape, adjoint)
            },
            solver: self.solver,
            progress_words: if cut.bands > 1 {
                1 + blocks as usize
            } else {
                0
            },
            row_threads: self.row_threads,
        })
    }
}

/// The plan that fits any size.
fn wide_plan(
    geometry: &Geometry,
    element: Element,
    shape: Shape,
    adjoint: bool,
) -> Result<Option<SolvePlan>> {
    let diagonal = geometry.height.min(geometry.width);
    let threads = whole_warps(geometry.group_channels() * diagonal).min(WIDE_THREADS);
    let blocks = image_groups(OP, geometry)?;
    Ok(Solver::Wide
        .kernel(element)
        .map(|(image, kernel)| SolvePlan {
            launch: Launch {
                image,
                kernel,
                grid: [blocks, 1, 1],
                block: [threads as u32, 1, 1],
                shared_bytes: 0,
            },
            params: unfilled(shape, adjoint),
            solver: Solver::Wide,
            progress_words: 0,
            row_threads: 1,
        }))
}

fn unfilled(shape: Shape, adjoint: bool) -> SolveParams {
    SolveParams {
        y: 0,
        weight: 0,
        x: 0,
        progress: 0,
        singular: 0,
        shape,
        adjoint: adjoint.into(),
        bands: 1,
        band_rows: 0,
        chunk: 0,
        tap_rows: 0,
        tap_columns: 0,
        slice: 0,
        far_in_shared: 0,
        tap_teams: 1,
        reserved: 0,
    }
}
