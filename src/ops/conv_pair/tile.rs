//! Rows of pixels, and the two products that everything is made of.
//!
//! A [`Rows`] holds one number per pixel in every row, the pixels of a few images one after the other and padded with
//! zeros to whole pairs of vectors; pixels are the lanes. [`Multiply`] combines rows (`C += A B` with a small A), [`Correlate`]
//! multiplies rows with one another (`A Bᵀ`, summed over the pixels).

use crate::ops::cpu::Real;
use pulp::{Simd, WithSimd};

/// Rows of a product that are computed together, in registers, two vectors wide.
pub const BLOCK: usize = 6;

/// `count` rows of `stride` numbers.
pub struct Rows<T> {
    pub data: Vec<T>,
    pub stride: usize,
}

impl<T: Real> Rows<T> {
    /// Zeros; whole blocks of rows.
    pub fn new(count: usize, stride: usize) -> Self {
        Self {
            data: vec![T::default(); count.next_multiple_of(BLOCK) * stride],
            stride,
        }
    }

    pub fn row(&self, index: usize) -> &[T] {
        &self.data[index * self.stride..][..self.stride]
    }

    pub fn row_mut(&mut self, index: usize) -> &mut [T] {
        &mut self.data[index * self.stride..][..self.stride]
    }
}

/// A plane of pixels moved by (`down`, `right`).
#[derive(Clone, Copy)]
pub struct Shift {
    pub height: usize,
    pub width: usize,
    pub down: isize,
    pub right: isize,
}

impl Shift {
    /// For tap `tap` of a filter of side `side`: where it reads, as seen from the pixel that it contributes to.
    pub fn of_tap(height: usize, width: usize, side: usize, tap: usize) -> Self {
        let pad = (side / 2) as isize;
        Self {
            height,
            width,
            down: (tap / side) as isize - pad,
            right: (tap % side) as isize - pad,
        }
    }

    pub fn reversed(self) -> Self {
        Self {
            down: -self.down,
            right: -self.right,
            ..self
        }
    }

    /// Runs of pixels `(here, there, length)` where `there = here + shift` lies in the plane, row by row.
    fn runs(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let clip = |size: usize, by: isize| {
            let first = (-by).max(0) as usize;
            let last = (size as isize - by.max(0)).max(0) as usize;
            (first, last.max(first).min(size.max(first)))
        };
        let (first_row, last_row) = clip(self.height, self.down);
        let (first, last) = clip(self.width, self.right);
        let length = last.saturating_sub(first);
        let width = self.width;
        (first_row..last_row)
            .filter(move |_| length > 0)
            .map(move |row| {
                let there = (row as isize + self.down) as usize * width;
                (
                    row * width + first,
                    there + (first as isize + self.right) as usize,
                    length,
                )
            })
    }

    /// `to[p] = from[p + shift]`; pixels that come from outside are left alone.
    pub fn gather<T: Real>(self, from: &[T], to: &mut [T]) {
        for (here, there, length) in self.runs() {
            to[here..here + length].copy_from_slice(&from[there..there + length]);
        }
    }

    /// `to[p + shift] += from[p]`, where that lies in the plane.
    pub fn scatter_add<T: Real>(self, from: &[T], to: &mut [T]) {
        for (here, there, length) in self.runs() {
            let from = &from[here..here + length];
            for (to, &from) in to[there..there + length].iter_mut().zip(from) {
                *to += from;
            }
        }
    }
}

/// A matrix as [`multiply`] reads it: blocks of [`BLOCK`] rows, `[block][column][row]`, padded with zeros.
pub fn pack<T: Real>(rows: usize, columns: usize, at: impl Fn(usize, usize) -> T) -> Vec<T> {
    let mut packed = Vec::with_capacity(rows.next_multiple_of(BLOCK) * columns);
    for block in (0..rows).step_by(BLOCK) {
        for column in 0..columns {
            packed.extend((block..block + BLOCK).map(|row| {
                if row < rows {
                    at(row, column)
                } else {
                    T::default()
                }
            }));
        }
    }
    packed
}

/// [`BLOCK`] rows of `C = A B`, or of `C += A B` with `ADD`: `a` is `[column][row]`, `b` and `c` are rows of `stride`
/// numbers, a multiple of two vectors.
pub struct Multiply<'a, T, const ADD: bool> {
    pub a: &'a [T],
    pub b: &'a [T],
    pub stride: usize,
    pub c: &'a mut [T],
}

impl<T: Real, const ADD: bool> WithSimd for Multiply<'_, T, ADD> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let row = T::vectors::<S>(&self.b[..self.stride]).len();
        let (b, c) = (T::vectors::<S>(self.b), T::vectors_mut::<S>(self.c));
        for at in (0..row).step_by(2) {
            let mut sums = [[T::splat(simd, T::default()); 2]; BLOCK];
            if ADD {
                for (r, sums) in sums.iter_mut().enumerate() {
                    *sums = [c[r * row + at], c[r * row + at + 1]];
                }
            }
            for (weights, b) in self
                .a
                .as_chunks::<BLOCK>()
                .0
                .iter()
                .zip(b.chunks_exact(row))
            {
                let pair = [b[at], b[at + 1]];
                for r in 0..BLOCK {
                    let weight = T::splat(simd, weights[r]);
                    for v in 0..2 {
                        sums[r][v] = T::mul_add(simd, weight, pair[v], sums[r][v]);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                [c[r * row + at], c[r * row + at + 1]] = *sums;
            }
        }
    }
}

/// Adds the products of `rows` with a chunk's rows, summed over the pixels, to `sums` `[row][middle]` from `start` on.
pub struct Correlate<'a, T> {
    pub rows: &'a Rows<T>,
    pub count: usize,
    pub chunk: &'a Rows<T>,
    pub chunk_rows: usize,
    pub sums: &'a mut [T],
    pub middle: usize,
    pub start: usize,
}

impl<T: Real> WithSimd for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let length = T::vectors::<S>(self.rows.row(0)).len();
        let (a, b) = (
            T::vectors::<S>(&self.rows.data),
            T::vectors::<S>(&self.chunk.data),
        );
        for row in (0..self.count).step_by(3) {
            for m in (0..self.chunk_rows).step_by(4) {
                // slices of one length: the loop then has no bounds to check
                let a: [_; 3] = std::array::from_fn(|r| &a[(row + r) * length..][..length]);
                let b: [_; 4] = std::array::from_fn(|s| &b[(m + s) * length..][..length]);
                let mut sums = [[T::splat(simd, T::default()); 4]; 3];
                for v in 0..length {
                    for r in 0..3 {
                        for s in 0..4 {
                            sums[r][s] = T::mul_add(simd, a[r][v], b[s][v], sums[r][s]);
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    let at = (row + r) * self.middle + self.start + m;
                    for (total, &sum) in self.sums[at..].iter_mut().zip(sums) {
                        *total += T::from_f64(T::reduce(simd, sum));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_and_its_reverse_move_the_same_pixels() {
        for (height, width, side) in [(3, 4, 3), (1, 5, 3), (2, 1, 5), (4, 3, 1)] {
            for tap in 0..side * side {
                let shift = Shift::of_tap(height, width, side, tap);
                let from: Vec<f64> = (1..=height * width).map(|p| p as f64).collect();
                let (mut gathered, mut scattered) = (vec![0.0; from.len()], vec![0.0; from.len()]);
                shift.gather(&from, &mut gathered);
                shift.reversed().scatter_add(&from, &mut scattered);
                assert_eq!(gathered, scattered);
                for row in 0..height as isize {
                    for column in 0..width as isize {
                        let (r, c) = (row + shift.down, column + shift.right);
                        let inside =
                            (0..height as isize).contains(&r) && (0..width as isize).contains(&c);
                        let expected = if inside {
                            (r * width as isize + c + 1) as f64
                        } else {
                            0.0
                        };
                        assert_eq!(gathered[(row * width as isize + column) as usize], expected);
                    }
                }
            }
        }
    }
}
