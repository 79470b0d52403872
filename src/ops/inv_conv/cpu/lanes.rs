//! Images as lanes: planes of up to `LANES` images, transposed to `[pixel][channel][lane]` in walking order, and back.

use super::microkernel::{store as store_vectors, vectors};
use super::sizes::Sizes;
use super::walk::Walk;
use crate::ops::vector::transpose::Square;
use crate::ops::vector::Real;
use pulp::Simd;

/// Rows of one group of channels, in walking order.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Sizes of the call.
    pub sizes: &'a Sizes,
    /// Where the group's channels begin.
    pub first_channel: usize,
    /// The order of the pixels.
    pub walk: Walk,
    /// First row of the walk, and number of rows.
    pub first: usize,
    pub count: usize,
}

impl Rows<'_> {
    /// Brings the rows of all images in; lanes without an image become zero.
    #[inline(always)]
    pub fn load<T: Real, S: Simd, const V: usize>(
        &self,
        simd: S,
        images: &[T],
        block: &mut Square<T>,
        pixels: &mut [T],
    ) {
        let (sizes, c) = (self.sizes, self.sizes.group_channels);
        for channel in 0..c {
            let plane = (self.first_channel + channel) * sizes.pixels();
            for piece in self.pieces(T::LANES) {
                for (lane, image) in images.chunks_exact(sizes.image()).enumerate() {
                    let row = &image[plane + piece.start..][..piece.count];
                    copy::<T, S, V>(block.row_mut(lane), row);
                }
                for lane in images.len() / sizes.image()..T::LANES {
                    block.row_mut(lane).fill(T::default());
                }
                block.transpose(simd);
                for (i, position) in piece.positions[..piece.count].iter().enumerate() {
                    let at = &mut pixels[(position * c + channel) * T::LANES..];
                    store_vectors::<T, S, V>(at, vectors::<T, S, V>(block.row(i)));
                }
            }
        }
    }

    /// Takes the rows of all images out.
    #[inline(always)]
    pub fn store<T: Real, S: Simd, const V: usize>(
        &self,
        simd: S,
        pixels: &[T],
        block: &mut Square<T>,
        images: &mut [T],
    ) {
        let (sizes, c) = (self.sizes, self.sizes.group_channels);
        for channel in 0..c {
            let plane = (self.first_channel + channel) * sizes.pixels();
            for piece in self.pieces(T::LANES) {
                for (i, position) in piece.positions[..piece.count].iter().enumerate() {
                    let at = &pixels[(position * c + channel) * T::LANES..];
                    store_vectors::<T, S, V>(block.row_mut(i), vectors::<T, S, V>(at));
                }
                block.transpose(simd);
                for (lane, image) in images.chunks_exact_mut(sizes.image()).enumerate() {
                    let row = &mut image[plane + piece.start..][..piece.count];
                    copy::<T, S, V>(row, &block.row(lane)[..piece.count]);
                }
            }
        }
    }

    /// The pieces of the rows, as they lie in a plane.
    #[inline(always)]
    fn pieces(&self, lanes: usize) -> impl Iterator<Item = Piece> {
        let (walk, width, rows) = (self.walk, self.sizes.width, self.count);
        let top = if walk.mirror_rows {
            self.sizes.height - self.first - rows
        } else {
            self.first
        };
        let (mut row, mut column) = (0, 0);
        (0..rows * width).step_by(lanes).map(move |begin| {
            let count = lanes.min(rows * width - begin);
            let mut positions = [0; 16];
            for position in &mut positions[..count] {
                let r = if walk.mirror_rows {
                    rows - 1 - row
                } else {
                    row
                };
                let c = if walk.mirror_columns {
                    width - 1 - column
                } else {
                    column
                };
                *position = r * width + c;
                column += 1;
                if column == width {
                    (row, column) = (row + 1, 0);
                }
            }
            Piece {
                start: top * width + begin,
                count,
                positions,
            }
        })
    }
}

/// Up to `LANES` neighbouring pixels of a plane, and where they stand in the walk.
struct Piece {
    /// First pixel, in the plane.
    start: usize,
    count: usize,
    /// Their places in the band, in walking order.
    positions: [usize; 16],
}

/// Copies a row of `from.len()` elements, at most `LANES`: whole rows as vectors.
#[inline(always)]
fn copy<T: Real, S: Simd, const V: usize>(to: &mut [T], from: &[T]) {
    if from.len() == T::LANES {
        store_vectors::<T, S, V>(to, vectors::<T, S, V>(from));
    } else {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
}
