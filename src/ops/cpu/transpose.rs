//! Square blocks of elements, turned over: rows of an image become lanes, and back.

use super::simd::Real;
use pulp::Simd;

/// A block of `LANES` rows of `LANES` elements.
#[derive(Debug, Clone)]
pub struct Block<T> {
    elements: Vec<T>,
}

impl<T: Real> Block<T> {
    /// Zeros.
    pub fn new() -> Self {
        Self {
            elements: vec![T::default(); T::LANES * T::LANES],
        }
    }

    /// Row `index`.
    #[inline(always)]
    pub fn row(&self, index: usize) -> &[T] {
        &self.elements[index * T::LANES..][..T::LANES]
    }

    /// Row `index`, for writing.
    #[inline(always)]
    pub fn row_mut(&mut self, index: usize) -> &mut [T] {
        &mut self.elements[index * T::LANES..][..T::LANES]
    }

    /// Exchanges rows and columns.
    #[inline(always)]
    pub fn transpose<S: Simd>(&mut self, _simd: S) {
        let n = T::LANES;
        for i in 0..n {
            for j in 0..i {
                self.elements.swap(i * n + j, j * n + i);
            }
        }
    }
}
