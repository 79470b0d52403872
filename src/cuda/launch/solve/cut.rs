//! How an image is cut into bands of rows, one block each, and chunks of diagonals.

use super::layout::SolveLayout;
use crate::cuda::launch::grid::div_up;
use crate::problem::Geometry;

/// Images times groups from which on they fill a device by themselves.
const ENOUGH_IMAGES: i64 = 64;
/// Blocks wanted where they do not: about one for each multiprocessor of the largest device.
const ENOUGH_BLOCKS: i64 = 128;
/// Threads below which a band is not cut further: six warps hide each other's latency.
const BAND_THREADS: i64 = 192;
/// Rows that a block takes even where its threads cover fewer at once.
const BAND_ROWS: i64 = 8;

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

/// How an image is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) bands: i64,
    pub(super) band_rows: i64,
    pub(super) chunk: i64,
}

impl Cut {
    /// The first that fits into shared memory, from few large bands and long chunks to many small ones.
    pub(super) fn find(
        geometry: &Geometry,
        layout: &SolveLayout,
        limits: &SolveLimits,
    ) -> Option<Self> {
        let mut wanted = Self::wanted_rows(geometry, layout)
            .min(geometry.height)
            .min(limits.band_rows);
        loop {
            let mut cut = Self::into_rows(geometry, layout, wanted);
            // what a band waits for is published chunk by chunk, so bands prefer short ones
            let longest = if cut.bands > 1 {
                (cut.band_rows / 2).clamp(4, 8)
            } else {
                16
            };
            cut.chunk = (cut.band_rows + geometry.width)
                .min(longest)
                .min(limits.chunk)
                .max(1);
            while cut.chunk > 1 && layout.shared_bytes(cut.band_rows, cut.chunk) > limits.shared {
                cut.chunk /= 2;
            }
            if layout.shared_bytes(cut.band_rows, cut.chunk) <= limits.shared {
                return Some(cut);
            }
            if wanted <= 1 {
                return None;
            }
            wanted /= 2;
        }
    }

    /// Rows of a band: as many as fill a block's threads, fewer where there are too few images to fill the device.
    fn wanted_rows(geometry: &Geometry, layout: &SolveLayout) -> i64 {
        let images = geometry.batch * geometry.groups;
        let most = (layout.max_threads / layout.row_threads * layout.rows).max(BAND_ROWS);
        let least = (BAND_THREADS / layout.row_threads).clamp(2, 16);
        let shared_out = if images >= ENOUGH_IMAGES {
            geometry.height
        } else {
            div_up(geometry.height * images, ENOUGH_BLOCKS)
        };
        shared_out.clamp(least.min(most), most)
    }

    /// Equal bands of about `wanted` rows: whole threads' worth, and none whose taps reach beyond the band before it.
    fn into_rows(geometry: &Geometry, layout: &SolveLayout, wanted: i64) -> Self {
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
