//! The product that everything is made of.

use crate::ops::vector::Real;
use pulp::Simd;

/// Rows of a product that are computed together, in registers.
pub const BLOCK: usize = 6;

/// What becomes of the sums of a product.
pub trait Finish<T: Real>: Copy {
    /// Whether the sums go on from what C holds.
    const ADD: bool;

    /// What C gets: `at` is the number of the vector in C.
    fn finish<S: Simd>(self, simd: S, at: usize, sum: T::Vector<S>) -> T::Vector<S>;
}

/// `C += A B`.
#[derive(Clone, Copy)]
pub struct Add;

/// `C = relu(A B)`; a NaN stays one.
#[derive(Clone, Copy)]
pub struct Relu;

/// `C = A B` where the ReLU whose values these are let something pass, 0 elsewhere.
#[derive(Clone, Copy)]
pub struct Gated<'a, T>(pub &'a [T]);

impl<T: Real> Finish<T> for Add {
    const ADD: bool = true;

    #[inline(always)]
    fn finish<S: Simd>(self, _: S, _: usize, sum: T::Vector<S>) -> T::Vector<S> {
        sum
    }
}

impl<T: Real> Finish<T> for Relu {
    const ADD: bool = false;

    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, _: usize, sum: T::Vector<S>) -> T::Vector<S> {
        T::gate(simd, sum, sum)
    }
}

impl<T: Real> Finish<T> for Gated<'_, T> {
    const ADD: bool = false;

    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, at: usize, sum: T::Vector<S>) -> T::Vector<S> {
        T::gate(simd, T::vectors::<S>(self.0)[at], sum)
    }
}

/// A left factor: `[block][column][row]` as [`pack`](super::panels::pack) makes it, or some of its columns.
#[derive(Clone, Copy)]
pub struct Left<'a, T> {
    pub blocks: &'a [T],
    /// Numbers from one block to the next.
    pub stride: usize,
    pub columns: usize,
}

/// A product for whole blocks of rows of C. Rows of `b` and `c` are `width` numbers long; these are the lanes, and they
/// are whole vectors.
#[inline(always)]
pub fn product<T: Real, S: Simd>(
    simd: S,
    a: Left<'_, T>,
    (b, width): (&[T], usize),
    c: &mut [T],
    finish: impl Finish<T>,
) {
    // three vectors where a row has an odd number: 18 sums, for the instruction sets with 32 registers
    match width / T::lanes::<S>() % 2 {
        0 => all_rows::<T, S, _, 2>(simd, a, b, width, c, finish),
        _ => all_rows::<T, S, _, 3>(simd, a, b, width, c, finish),
    }
}

/// `V` vectors at a time.
#[inline(always)]
fn all_rows<T: Real, S: Simd, F: Finish<T>, const V: usize>(
    simd: S,
    a: Left<'_, T>,
    b: &[T],
    width: usize,
    c: &mut [T],
    finish: F,
) {
    let row = width / T::lanes::<S>();
    let (b, c) = (T::vectors::<S>(b), T::vectors_mut::<S>(c));
    for (block, c) in c.chunks_exact_mut(BLOCK * row).enumerate() {
        let a = &a.blocks[block * a.stride..][..a.columns * BLOCK];
        for at in (0..row).step_by(V) {
            let mut sums = [[T::splat(simd, T::default()); V]; BLOCK];
            if F::ADD {
                for (r, sums) in sums.iter_mut().enumerate() {
                    sums.copy_from_slice(&c[r * row + at..][..V]);
                }
            }
            let columns = a.as_chunks::<BLOCK>().0.iter();
            for (weights, b) in columns.zip(b.chunks_exact(row)) {
                let Some(b) = b[at..].first_chunk::<V>() else {
                    continue;
                };
                for r in 0..BLOCK {
                    let weight = T::splat(simd, weights[r]);
                    for v in 0..V {
                        sums[r][v] = T::mul_add(simd, weight, b[v], sums[r][v]);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    let place = r * row + at + v;
                    c[place] = finish.finish(simd, block * BLOCK * row + place, sum);
                }
            }
        }
    }
}
