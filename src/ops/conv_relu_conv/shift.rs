//! Planes of pixels, moved: how a convolution becomes a product of matrices, and back.

use crate::ops::vector::Real;

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
