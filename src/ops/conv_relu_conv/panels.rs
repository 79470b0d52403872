//! Rows of pixels in panels, and matrices packed for the products.

use super::product::BLOCK;
use crate::ops::vector::Real;

/// Rows of pixels, the pixels of a few images one after the other and padded with zeros to whole panels.
///
/// A panel is [`width`](Panels::width) neighbouring pixels of all rows: `[panel][row][pixel]`. What a product reads
/// for the pixels that are its lanes then lies together in the first cache, whatever the size of the images.
pub struct Panels<T> {
    pub data: Vec<T>,
    rows: usize,
}

impl<T: Real> Panels<T> {
    /// Zeros: whole blocks of rows, whole panels of pixels.
    pub fn new(rows: usize, pixels: usize) -> Self {
        let rows = rows.next_multiple_of(BLOCK);
        Self {
            data: vec![T::default(); rows * pixels.next_multiple_of(Self::width())],
            rows,
        }
    }

    /// Pixels of a panel.
    pub const fn width() -> usize {
        2 * T::LANES
    }

    /// Numbers of a panel.
    pub fn panel_len(&self) -> usize {
        self.rows * Self::width()
    }

    /// Pieces of `row` that hold the pixels from `at` on: where each begins in `data`, its pixels counted from `at`.
    fn pieces(
        &self,
        row: usize,
        at: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
        let (width, panel) = (Self::width(), self.panel_len());
        let mut done = 0;
        std::iter::from_fn(move || {
            let pixel = at + done;
            let length = (width - pixel % width).min(count - done);
            let piece = done..done + length;
            done += length;
            let begins = pixel / width * panel + row * width + pixel % width;
            (length > 0).then_some((begins, piece))
        })
    }

    /// Writes a run of pixels of one row.
    pub fn write(&mut self, row: usize, at: usize, values: &[T]) {
        for (begins, piece) in self.pieces(row, at, values.len()) {
            self.data[begins..][..piece.len()].copy_from_slice(&values[piece]);
        }
    }

    /// Reads a run of pixels of one row.
    pub fn read(&self, row: usize, at: usize, values: &mut [T]) {
        for (begins, piece) in self.pieces(row, at, values.len()) {
            let length = piece.len();
            values[piece].copy_from_slice(&self.data[begins..][..length]);
        }
    }

    /// The same numbers as a left factor whose sums go over the pixels: `[panel][block][pixel][row of the block]`.
    pub fn turned(&self) -> Vec<T> {
        let width = Self::width();
        let mut turned = vec![T::default(); self.data.len()];
        let blocks = self.data.chunks_exact(BLOCK * width);
        for (block, turned) in blocks.zip(turned.chunks_exact_mut(BLOCK * width)) {
            for (r, row) in block.chunks_exact(width).enumerate() {
                for (pixel, &value) in row.iter().enumerate() {
                    turned[pixel * BLOCK + r] = value;
                }
            }
        }
        turned
    }
}

/// A left factor as a product reads it: blocks of [`BLOCK`] rows, `[block][column][row]`, padded with zeros.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_pixels_is_read_where_it_was_written() {
        let mut panels = Panels::<f64>::new(7, 45);
        let values: Vec<f64> = (1..=30).map(f64::from).collect();
        panels.write(2, 11, &values);
        let mut back = vec![0.0; 34];
        panels.read(2, 9, &mut back);
        let expected: Vec<f64> = [0.0, 0.0]
            .into_iter()
            .chain(values)
            .chain([0.0, 0.0])
            .collect();
        assert_eq!(back, expected);
        assert_eq!(
            panels.data.iter().filter(|&&value| value != 0.0).count(),
            30
        );
    }

    #[test]
    fn turning_exchanges_the_pixels_and_the_rows_of_a_block() {
        let mut panels = Panels::<f64>::new(8, 20);
        for row in 0..8 {
            let values: Vec<f64> = (0..20).map(|pixel| f64::from(100 * row + pixel)).collect();
            panels.write(row as usize, 0, &values);
        }
        let (turned, width) = (panels.turned(), Panels::<f64>::width());
        for (row, pixel) in [(0, 0), (1, 15), (5, 16), (6, 3), (7, 19)] {
            let block = (pixel / width) * 2 + row / BLOCK;
            let at = (block * width + pixel % width) * BLOCK + row % BLOCK;
            assert_eq!(turned[at], (100 * row + pixel) as f64, "{row}, {pixel}");
        }
    }
}
