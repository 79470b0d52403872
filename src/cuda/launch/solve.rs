//! The launch plan of a solve: where its matrices are kept, and how an image is cut into bands and chunks.
//!
//! What is planned here is explained in `kernels/inv_conv_band.cuh` and `kernels/inv_conv_product.cuh`. The result of a
//! solve depends on the solver, but to the last bit not on bands, chunks or threads.

use tch::Kind;

use super::{div_up, image_groups, whole_warps, Launch, MAX_GRID_X};
use crate::cuda::kernels::{Element, Solver, REGISTER_SHAPES};
use crate::cuda::params::{Shape, SolveParams};
use crate::ops::{Corner, Geometry};
use crate::Result;

const OP: &str = "inv_conv2d";
/// Threads of a block at most where no shape says otherwise; twin: `kSolveThreads`.
const SOLVE_THREADS: i64 = 384;
/// The same of the kernel that fits any size; twin: `kSolveWideThreads`.
const WIDE_THREADS: i64 = 512;
/// Images times groups from which on they fill a device by themselves.
const ENOUGH_IMAGES: i64 = 64;
/// Blocks wanted where they do not: about one for each multiprocessor of the largest device.
const ENOUGH_BLOCKS: i64 = 128;
/// Threads below which a band is not cut further: six warps hide each other's latency.
const BAND_THREADS: i64 = 192;
/// Rows that a block takes even where its threads cover fewer at once.
const BAND_ROWS: i64 = 8;
/// Threads that a thread's second and fourth row must leave: three warps.
const ROW_SHARING_THREADS: i64 = 96;

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
    /// Threads that share a row of pixels: a block has at least as many.
    pub row_threads: i64,
}

/// What a plan may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SolveLimits {
    /// Dynamic shared memory of a block, in bytes, with opt-in.
    pub shared: usize,
    /// Rows of a band, unless the filter needs more.
    pub band_rows: i64,
    /// Diagonals of a chunk.
    pub chunk: i64,
}

impl SolveLimits {
    /// Those of a device with this much shared memory for a block.
    pub const fn of_device(shared: usize) -> Self {
        Self {
            shared,
            band_rows: i64::MAX,
            chunk: 16,
        }
    }
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

/// How a block keeps matrices and channels; twin: the products of `inv_conv_product.cuh`.
struct Layout {
    solver: Solver,
    element: Element,
    /// Channels of a slice, and slices.
    slice: i64,
    slices: i64,
    /// Threads of a row of pixels, rows of a thread, threads of a block.
    row_threads: i64,
    rows: i64,
    max_threads: i64,
    /// Taps that reach into the image.
    tap_rows: i64,
    tap_columns: i64,
    matrix_elements: i64,
    far_in_shared: bool,
}

/// The layouts that this geometry can have, the best first.
fn layouts(geometry: &Geometry, element: Element) -> Vec<Layout> {
    let (n, k) = (geometry.group_channels(), geometry.kernel);
    let vector = element.vector();
    let mut layouts = Vec::new();
    let in_registers = REGISTER_SHAPES
        .into_iter()
        .find(|shape| shape.channels() >= n && element == Element::F32 && (k == 2 || k == 3));
    if let Some(shape) = in_registers {
        layouts.push(Layout {
            solver: Solver::Registers { shape, kernel: k },
            element,
            slice: shape.slice,
            slices: shape.slices,
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
    let row_threads = slices * slice;
    let rows = [4, 2]
        .into_iter()
        .find(|rows| slices == 4 && geometry.height * row_threads / rows >= ROW_SHARING_THREADS)
        .unwrap_or(1);
    let (tap_rows, tap_columns) = (k.min(geometry.height), k.min(geometry.width));
    for far_in_shared in [true, false] {
        let matrices = if far_in_shared {
            (tap_rows * tap_columns).max(3)
        } else {
            3
        };
        let stride = (div_up(slice, vector) * slices * row_threads + 1) * vector;
        layouts.push(Layout {
            solver: Solver::Shared { slices, rows },
            element,
            slice,
            slices,
            row_threads,
            rows,
            max_threads: SOLVE_THREADS,
            tap_rows,
            tap_columns,
            matrix_elements: matrices * stride,
            far_in_shared,
        });
    }
    layouts.retain(|layout| layout.row_threads <= layout.max_threads);
    layouts
}

/// How an image is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    bands: i64,
    band_rows: i64,
    chunk: i64,
}

impl Cut {
    /// The first that fits into shared memory, from few large bands and long chunks to many small ones.
    fn find(geometry: &Geometry, layout: &Layout, limits: &SolveLimits) -> Option<Self> {
        let mut wanted = Self::wanted_rows(geometry, layout).min(limits.band_rows);
        loop {
            let mut cut = Self::into_rows(geometry, layout, wanted);
            // what a band waits for is published chunk by chunk, so bands prefer short ones
            let longest = if cut.bands > 1 { 8 } else { 16 };
            cut.chunk = (cut.band_rows + geometry.width)
                .min(longest)
                .min(limits.chunk)
                .max(1);
            while cut.chunk > 1 && layout.shared_bytes(&cut) > limits.shared {
                cut.chunk /= 2;
            }
            if layout.shared_bytes(&cut) <= limits.shared {
                return Some(cut);
            }
            if Self::into_rows(geometry, layout, wanted / 2)
                == Self::into_rows(geometry, layout, wanted)
                || wanted <= 1
            {
                return None;
            }
            wanted /= 2;
        }
    }

    /// Rows of a band: as many as fill a block's threads, fewer where there are too few images to fill the device.
    fn wanted_rows(geometry: &Geometry, layout: &Layout) -> i64 {
        let images = geometry.batch * geometry.groups;
        let most = (layout.max_threads / layout.row_threads * layout.rows).max(BAND_ROWS);
        let least = (BAND_THREADS / layout.row_threads).clamp(4, 16);
        let shared_out = if images >= ENOUGH_IMAGES {
            geometry.height
        } else {
            div_up(geometry.height * images, ENOUGH_BLOCKS)
        };
        shared_out.clamp(least.min(most), most)
    }

    /// Equal bands of about `wanted` rows: whole threads' worth, and none whose taps reach beyond the band before it.
    fn into_rows(geometry: &Geometry, layout: &Layout, wanted: i64) -> Self {
        let height = geometry.height.max(1);
        let bands = div_up(height, wanted.clamp(1, height));
        let balanced = div_up(height, bands).max(layout.tap_rows - 1);
        let band_rows = div_up(balanced.max(1), layout.rows) * layout.rows;
        Self {
            bands: div_up(height, band_rows),
            band_rows,
            chunk: 0,
        }
    }
}

impl Layout {
    /// Shared memory of a block; twin: the carving in `inv_conv_solve.cu` and the sizes in `InvConvBand`.
    fn shared_bytes(&self, cut: &Cut) -> usize {
        let vector = self.element.vector();
        let line = 8 * vector;
        let pixel_stride = self.slices * div_up(self.slice, vector) * vector;
        let pixels = (cut.band_rows + self.tap_rows - 1) * pixel_stride;
        let slot_stride = pixels + (line + vector - pixels % line) % line;
        let slots = (self.tap_rows + self.tap_columns - 2).max(2) + 2 * cut.chunk;
        let matrices = div_up(self.matrix_elements, vector) * vector;
        let elements = matrices + 2 * cut.band_rows * pixel_stride + slots * slot_stride;
        16 + elements as usize * self.element.bytes()
    }

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
                shared_bytes: self.shared_bytes(cut) as u32,
            },
            params: SolveParams {
                bands: cut.bands as i32,
                band_rows: cut.band_rows as i32,
                chunk: cut.chunk as i32,
                tap_rows: self.tap_rows as i32,
                tap_columns: self.tap_columns as i32,
                slice: self.slice as i32,
                far_in_shared: self.far_in_shared.into(),
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
        shape,
        adjoint: adjoint.into(),
        bands: 1,
        band_rows: 0,
        chunk: 0,
        tap_rows: 0,
        tap_columns: 0,
        slice: 0,
        far_in_shared: 0,
    }
}
