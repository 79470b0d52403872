//! Planes with a border of zeros, in which a tap is nothing but an offset.
//!
//! Rows are followed by `k-1` zeros, and the first one is preceded by as many, so that a shift by a tap's columns, to
//! either side, meets zeros where it leaves the image. Then every pixel of a band is one place in one long line, and
//! neighbouring pixels are the lanes of a vector, across the ends of rows too.

use super::sizes::Sizes;
use super::walk::Walk;
use crate::ops::vector::Real;
use std::ops::Range;

/// Where the planes of a band lie.
#[derive(Debug, Clone, Copy)]
pub struct PlaneLayout {
    /// Distance of two rows: W + k - 1.
    pub pitch: usize,
    /// Distance of two channels: whole cache lines.
    pub plane: usize,
    /// Rows of the band, at most.
    pub rows: usize,
    /// Place of the band's first pixel.
    pub origin: usize,
    /// Rows above and below the band that taps may reach.
    above: usize,
    below: usize,
}

impl PlaneLayout {
    /// For bands of `rows` rows, seen through the taps of `walk`; without a walk nothing but the band is seen. The last
    /// vectors of a line may reach `slack` places beyond it.
    pub fn new(sizes: &Sizes, rows: usize, walk: Option<Walk>, slack: usize) -> Self {
        let pad = sizes.kernel - 1;
        let (above, below) = match walk {
            None => (0, 0),
            Some(walk) if walk.mirror_rows => (0, pad),
            Some(_) => (pad, 0),
        };
        let pitch = sizes.width + pad;
        Self {
            pitch,
            plane: (pad + (above + rows + below) * pitch + slack).next_multiple_of(16),
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
            + (if walk.mirror_columns {
                columns
            } else {
                -columns
            })
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
        let seen = 0..self.above + rows + self.below;
        self.load_lines(sizes, images, first, seen, planes);
    }

    /// As [`load`](PlaneLayout::load), but with zeros in the rows beyond the band's own.
    pub fn load_band<T: Real>(
        &self,
        sizes: &Sizes,
        images: &[T],
        first: usize,
        rows: usize,
        planes: &mut [T],
    ) {
        let own = self.above..self.above + rows;
        self.load_lines(sizes, images, first, own, planes);
    }

    /// Fills all lines: line `above` is row `first` of the image, and lines that are not in `wanted` are zero.
    fn load_lines<T: Real>(
        &self,
        sizes: &Sizes,
        images: &[T],
        first: usize,
        wanted: Range<usize>,
        planes: &mut [T],
    ) {
        let pad = sizes.kernel - 1;
        for (plane, image) in planes
            .chunks_exact_mut(self.plane)
            .zip(images.chunks_exact(sizes.pixels()))
        {
            for line in 0..self.above + self.rows + self.below {
                let to = &mut plane[pad + line * self.pitch..][..sizes.width];
                let row = (first + line)
                    .checked_sub(self.above)
                    .filter(|&row| row < sizes.height && wanted.contains(&line));
                match row {
                    Some(row) => copy_row(to, &image[row * sizes.width..][..sizes.width]),
                    None => to.fill(T::default()),
                }
            }
        }
    }
}

/// `to.copy_from_slice(from)` without a call into the C library, which costs as much as copying a short row.
#[inline]
pub fn copy_row<T: Copy>(to: &mut [T], from: &[T]) {
    const LONG: usize = 8;
    const SHORT: usize = 3;
    fn pieces<T: Copy, const N: usize>(to: &mut [T], from: &[T]) {
        for (to, from) in to.as_chunks_mut::<N>().0.iter_mut().zip(from.as_chunks().0) {
            *to = *from;
        }
        // the rest as one more piece, which may overlap the last one
        if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
            *to = *from;
        }
    }
    match from.len() {
        LONG.. => pieces::<T, LONG>(to, from),
        SHORT.. => pieces::<T, SHORT>(to, from),
        2 => pieces::<T, 2>(to, from),
        _ => pieces::<T, 1>(to, from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_are_copied() {
        for len in 0..40 {
            let from: Vec<_> = (1..=len).collect();
            let mut to = vec![0; len];
            copy_row(&mut to, &from);
            assert_eq!(to, from);
        }
    }
}
