//! Rows of pixels, and the two products that everything is made of.
//!
//! A [`Rows`] holds one number per pixel in every row, the pixels of a few images one after the other and padded with
//! zeros to whole pairs of vectors; pixels are the lanes. [`multiply`] combines rows (`C += A B` with a small A), [`dots`]
//! multiplies rows with one another (`A Bᵀ`, summed over the pixels).

use super::cpu::Scalar;

/// Rows of a product that are computed together, in registers, two vectors wide.
pub const BLOCK: usize = 6;

/// `count` rows of `stride` numbers.
pub struct Rows<T> {
    pub data: Vec<T>,
    pub stride: usize,
}

impl<T: Scalar> Rows<T> {
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
    pub fn gather<T: Scalar>(self, from: &[T], to: &mut [T]) {
        for (here, there, length) in self.runs() {
            to[here..here + length].copy_from_slice(&from[there..there + length]);
        }
    }

    /// `to[p + shift] += from[p]`, where that lies in the plane.
    pub fn scatter_add<T: Scalar>(self, from: &[T], to: &mut [T]) {
        for (here, there, length) in self.runs() {
            let from = &from[here..here + length];
            for (to, &from) in to[there..there + length].iter_mut().zip(from) {
                *to += from;
            }
        }
    }
}

/// A matrix as [`multiply`] reads it: blocks of [`BLOCK`] rows, `[block][column][row]`, padded with zeros.
pub fn pack<T: Scalar>(rows: usize, columns: usize, at: impl Fn(usize, usize) -> T) -> Vec<T> {
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
/// numbers, a multiple of two vectors of `N`.
#[inline(always)]
pub fn multiply<T: Scalar, const FMA: bool, const ADD: bool, const N: usize>(
    a: &[T],
    b: &[T],
    stride: usize,
    c: &mut [T],
) {
    for at in (0..stride).step_by(2 * N) {
        let mut sums = [[[T::default(); N]; 2]; BLOCK];
        if ADD {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    sum.copy_from_slice(&c[row * stride + at + v * N..][..N]);
                }
            }
        }
        for (weights, row) in a.as_chunks::<BLOCK>().0.iter().zip(b.chunks_exact(stride)) {
            let (vectors, _) = row[at..at + 2 * N].as_chunks::<N>();
            for r in 0..BLOCK {
                for v in 0..2 {
                    for l in 0..N {
                        sums[r][v][l] = mul_add::<T, FMA>(weights[r], vectors[v][l], sums[r][v][l]);
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                c[row * stride + at + v * N..][..N].copy_from_slice(sum);
            }
        }
    }
}

/// Products of 3 rows of `a` with 4 rows of `b`, summed over the pixels.
#[inline(always)]
pub fn dots<T: Scalar, const FMA: bool, const N: usize>(
    a: &[T],
    b: &[T],
    stride: usize,
) -> [[T; 4]; 3] {
    let mut sums = [[[T::default(); N]; 4]; 3];
    for at in (0..stride).step_by(N) {
        for r in 0..3 {
            for s in 0..4 {
                let (x, y) = (&a[r * stride + at..][..N], &b[s * stride + at..][..N]);
                for l in 0..N {
                    sums[r][s][l] = mul_add::<T, FMA>(x[l], y[l], sums[r][s][l]);
                }
            }
        }
    }
    sums.map(|row| row.map(|lanes| halving_sum(&lanes)))
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn halving_sum<T: Scalar, const N: usize>(lanes: &[T; N]) -> T {
    let mut lanes = *lanes;
    let mut half = N / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn mul_add<T: Scalar, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA {
        a.fused(b, c)
    } else {
        a * b + c
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
