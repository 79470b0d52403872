//! Where a block of a solve keeps matrices and channels, and how much shared memory that takes.

use crate::cuda::kernels::{Element, Solver, REGISTER_SHAPES, SIDES};
use crate::cuda::launch::grid::div_up;
use crate::problem::Geometry;

/// Threads of each team that a thread's second and fourth row must leave: three warps.
const ROW_SHARING_THREADS: i64 = 96;
/// Far taps that a team has at least, and teams at most.
const TEAM_TAPS: i64 = 8;
const MAX_TEAMS: i64 = 4;
/// Channels at most of the kernels for one side: four slices of a vector.
const SIDE_CHANNELS: i64 = 16;

/// How a block keeps matrices and channels; twin: the products of `inv_conv_product.cuh`.
pub(super) struct SolveLayout {
    pub(super) solver: Solver,
    pub(super) element: Element,
    /// Channels of a slice, and slices.
    pub(super) slice: i64,
    pub(super) slices: i64,
    /// Teams that share the far taps.
    pub(super) tap_teams: i64,
    /// Threads of a row of pixels in all teams, rows of a thread, threads of a block.
    pub(super) row_threads: i64,
    pub(super) rows: i64,
    pub(super) max_threads: i64,
    /// Taps that reach into the image.
    pub(super) tap_rows: i64,
    pub(super) tap_columns: i64,
    pub(super) matrix_elements: i64,
    pub(super) far_in_shared: bool,
}

/// The layouts that this geometry can have, the best first.
pub(super) fn layouts(geometry: &Geometry, element: Element) -> Vec<SolveLayout> {
    let (n, k) = (geometry.group_channels(), geometry.kernel);
    let vector = element.vector();
    let mut layouts = Vec::new();
    let in_registers = REGISTER_SHAPES
        .into_iter()
        .find(|shape| shape.channels() >= n && element == Element::F32 && (k == 2 || k == 3));
    if let Some(shape) = in_registers {
        layouts.push(SolveLayout {
            solver: Solver::Registers { shape, kernel: k },
            element,
            slice: shape.slice,
            slices: shape.slices,
            tap_teams: 1,
            row_threads: shape.channels() / shape.outputs * shape.slices,
            rows: 1,
            max_threads: shape.threads,
            tap_rows: k,
            tap_columns: k,
            matrix_elements: 3 * shape.channels() * shape.channels(),
            far_in_shared: false,
        });
    }
    let slices = if n <= 4 { 1 } else { 4 };
    let slice = div_up(n, slices);
    let channels = slices * slice;
    let (tap_rows, tap_columns) = (k.min(geometry.height), k.min(geometry.width));
    let max_threads = solve_threads(element);
    let tap_teams = [MAX_TEAMS, 2]
        .into_iter()
        .find(|teams| {
            tap_rows * tap_columns - 3 >= teams * TEAM_TAPS && teams * channels <= max_threads
        })
        .unwrap_or(1);
    let row_threads = channels * tap_teams;
    let least = ROW_SHARING_THREADS * tap_teams;
    let rows = [4, 2]
        .into_iter()
        .find(|rows| slices == 4 && geometry.height * row_threads / rows >= least)
        .unwrap_or(1);
    let side = element == Element::F32
        && slices == 4
        && n <= SIDE_CHANNELS
        && SIDES.contains(&k)
        && (tap_rows, tap_columns, tap_teams) == (k, k, side_teams(k));
    if side {
        layouts.push(SolveLayout {
            solver: Solver::Side { kernel: k, rows },
            element,
            slice,
            slices,
            tap_teams,
            row_threads,
            rows,
            max_threads,
            tap_rows,
            tap_columns,
            matrix_elements: k * k * (slices * SIDE_CHANNELS + 1) * vector,
            far_in_shared: true,
        });
    }
    for far_in_shared in [true, false] {
        let matrices = if far_in_shared {
            (tap_rows * tap_columns).max(3)
        } else {
            3
        };
        let stride = (div_up(slice, vector) * slices * channels + 1) * vector;
        layouts.push(SolveLayout {
            solver: Solver::Shared { slices, rows },
            element,
            slice,
            slices,
            tap_teams,
            row_threads,
            rows,
            max_threads,
            tap_rows,
            tap_columns,
            matrix_elements: matrices * stride,
            far_in_shared,
        });
    }
    layouts.retain(|layout| layout.row_threads <= layout.max_threads);
    layouts
}

/// Teams that share the far taps in the kernels for one side; twin: `side_teams` in `inv_conv_side_product.cuh`.
const fn side_teams(kernel: i64) -> i64 {
    if kernel < 7 {
        2
    } else {
        4
    }
}

/// Threads of a block at most where no shape says otherwise; twin: `kSolveThreads`.
pub(super) const fn solve_threads(element: Element) -> i64 {
    match element {
        Element::F32 => 384,
        Element::F64 => 256,
    }
}

impl SolveLayout {
    /// Shared memory of a block that takes `band_rows` rows and `chunk` diagonals at a time; twin: the carving in `inv_conv_solve.cu` and the sizes in `InvConvBand`.
    pub(super) fn shared_bytes(&self, band_rows: i64, chunk: i64) -> usize {
        let vector = self.element.vector();
        let line = 8 * vector;
        let pixel_stride = self.slices * div_up(self.slice, vector) * vector;
        let pixels = (band_rows + self.tap_rows - 1) * pixel_stride;
        let slot_stride = pixels + (line + vector - pixels % line) % line;
        let slots = (self.tap_rows + self.tap_columns - 2).max(2) + 2 * chunk;
        let matrices = div_up(self.matrix_elements, vector) * vector;
        let elements =
            matrices + 2 * self.tap_teams * band_rows * pixel_stride + slots * slot_stride;
        16 + elements as usize * self.element.bytes()
    }
}
