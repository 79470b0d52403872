//! The microkernel: one loop for all sums over taps.

use crate::ops::vector::Real;
use pulp::Simd;

/// Running sums: `OUT` outputs, each in `V` vectors.
pub type Sums<T, S, const OUT: usize, const V: usize> = [[<T as Real>::Vector<S>; V]; OUT];

/// Sums of zero.
#[inline(always)]
pub fn zeros<T: Real, S: Simd, const OUT: usize, const V: usize>(simd: S) -> Sums<T, S, OUT, V> {
    [[T::splat(simd, T::default()); V]; OUT]
}

/// The microkernel: `sums[o] += weights[j][o] * operands[j]`, in the order of `j`.
///
/// Each operand is read once and used for `OUT` outputs, whose sums stay in registers; weights are broadcast.
#[inline(always)]
pub fn accumulate<'a, T: Real, S: Simd, const OUT: usize, const V: usize>(
    simd: S,
    sums: &mut Sums<T, S, OUT, V>,
    operands: impl Iterator<Item = &'a [T]>,
    weights: &[T],
) {
    // a local copy: the compiler need not fear that writing a sum changes a weight
    let mut local = *sums;
    for (operand, weights) in operands.zip(weights.as_chunks::<OUT>().0) {
        let operand = vectors::<T, S, V>(operand);
        for o in 0..OUT {
            let weight = T::splat(simd, weights[o]);
            for v in 0..V {
                local[o][v] = T::mul_add(simd, weight, operand[v], local[o][v]);
            }
        }
    }
    *sums = local;
}

/// The first `V` vectors of `slice`.
#[inline(always)]
pub fn vectors<T: Real, S: Simd, const V: usize>(slice: &[T]) -> &[T::Vector<S>; V] {
    match T::vectors::<S>(slice).first_chunk() {
        Some(vectors) => vectors,
        None => panic!("a layout leaves room for its last vector"),
    }
}

/// Stores one output's sums at the start of `slice`.
#[inline(always)]
pub fn store<T: Real, S: Simd, const V: usize>(slice: &mut [T], sums: &[T::Vector<S>; V]) {
    T::vectors_mut::<S>(slice)[..V].copy_from_slice(sums);
}
