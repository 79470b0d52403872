//! Planes with a border of zeros, in which a tap is nothing but an offset.
//!
//! Rows are followed by `k-1` zeros, and the first one is preceded by as many, so that a shift by a tap's columns, to
//! either side, meets zeros where it leaves the image. Then every pixel of a band is one place in one long line, and
//! neighbouring pixels are the lanes of a vector, across the ends of rows too.

use super::simd::Real;
use super::{Sizes, Walk};

/// Places that the last vectors of a line may reach beyond it.
const SLACK: usize = 6 * 16;

/// Where the planes of a band lie.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Distance of two rows: W + k - 1.
    pub pitch: usize,
    /// Distance of two channels.
    pub plane: usize,
    /// Rows of the band, at most.
    pub rows: usize,
    /// Place of the band's first pixel.
    pub origin: usize,
    /// Rows above and below the band that taps may reach.
    above: usize,
    below: usize,
}

impl Layout {
    /// For bands of `rows` rows, seen through the taps of `walk`; without a walk nothing but the band is seen.
    pub fn new(sizes: &Sizes, rows: usize, walk: Option<Walk>) -> Self {
        let pad = sizes.kernel - 1;
        let (above, below) = match walk {
            None => (0, 0),
            Some(walk) if walk.mirror_rows => (0, pad),
            Some(_) => (pad, 0),
        };
        let pitch = sizes.width + pad;
        Self {
            pitch,
            plane: pad + (above + rows + below) * pitch + SLACK,
            rows,
            origin: pad + above * pitch,
            above,
            below,
        }
    }

    /// How far the operand of the tap (a, b) lies from its pixel.
    pub fn offset(&self, walk: Walk, a: usize, b: usize) -> isize {
        let rows = (a * self.pitch) as isize;
        let columns = b as isize;
        (if walk.mirror_rows { rows } else { -rows })
            + (if walk.mirror_columns { columns } else { -columns })
    }

    /// Copies rows `first..first + rows` and what taps may see beyond them into `planes`, from one image's planes of one
    /// group; rows outside the image become zero. Everything between the rows is zero already.
    pub fn load<T: Real>(
        &self,
        sizes: &Sizes,
        images: &[T],
        first: usize,
        rows: usize,
        planes: &mut [T],
    ) {
        let pad = sizes.kernel - 1;
        for (plane, image) in planes
            .chunks_exact_mut(self.plane)
            .zip(images.chunks_exact(sizes.pixels()))
        {
            for (line, row) in (0..self.above + self.rows + self.below).enumerate() {
                let to = &mut plane[pad + line * self.pitch..][..sizes.width];
                // row `row` of the buffer is this row of the image, if there is one and it belongs to the band's view
                let from = (first + row)
                    .checked_sub(self.above)
                    .filter(|&r| r < sizes.height && row < self.above + rows + self.below);
                match from {
                    Some(r) => to.copy_from_slice(&image[r * sizes.width..][..sizes.width]),
                    None => to.fill(T::default()),
                }
            }
        }
    }
}
