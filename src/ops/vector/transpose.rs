//! Square blocks of elements, turned over: rows of an image become lanes, and back.

use super::real::Real;
use pulp::Simd;
#[cfg(target_arch = "x86_64")]
use pulp::{
    cast, f32x16, f32x8, f64x8,
    x86::{V3, V4},
};
use std::any::Any;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512, __m512d};

/// A block of `LANES` rows of `LANES` elements.
#[derive(Debug, Clone)]
pub struct Square<T> {
    elements: Vec<T>,
    turned: Vec<T>,
}

impl<T: Real> Square<T> {
    /// Zeros.
    pub fn new() -> Self {
        Self {
            elements: vec![T::default(); T::LANES * T::LANES],
            turned: vec![T::default(); T::LANES * T::LANES],
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
    pub fn transpose<S: Simd>(&mut self, simd: S) {
        turn(simd, &self.elements, [T::LANES; 2], &mut self.turned);
        std::mem::swap(&mut self.elements, &mut self.turned);
    }
}

/// `to[column][row] = from[row][column]`, for numbers of rows and of columns that are multiples of `LANES`.
#[inline(always)]
#[allow(clippy::ptr_arg)] // only what has no lifetime can be asked for its type, so these are not slices
pub fn turn<T: Real, S: Simd>(simd: S, from: &Vec<T>, sizes: [usize; 2], to: &mut Vec<T>) {
    #[cfg(target_arch = "x86_64")]
    {
        let (from, to): (&dyn Any, &mut dyn Any) = (from, to);
        // one of these is true for a type known at compile time: nothing is asked at run time
        if let Some(simd) = same::<S, V4>(simd) {
            if let (Some(from), Some(to)) = (
                from.downcast_ref::<Vec<f32>>(),
                to.downcast_mut::<Vec<f32>>(),
            ) {
                return f32_v4(simd, from, sizes, to);
            }
            if let (Some(from), Some(to)) = (
                from.downcast_ref::<Vec<f64>>(),
                to.downcast_mut::<Vec<f64>>(),
            ) {
                return f64_v4(simd, from, sizes, to);
            }
        }
        if let Some(simd) = same::<S, V3>(simd) {
            if let (Some(from), Some(to)) = (
                from.downcast_ref::<Vec<f32>>(),
                to.downcast_mut::<Vec<f32>>(),
            ) {
                return f32_v3(simd, from, sizes, to);
            }
        }
    }
    for (at, there) in blocks(T::LANES, sizes) {
        for i in 0..T::LANES {
            for j in 0..T::LANES {
                to[there + j * sizes[0] + i] = from[at + i * sizes[1] + j];
            }
        }
    }
}

/// Where the square blocks of a matrix begin, and where they begin in the turned one.
#[inline(always)]
fn blocks(lanes: usize, [rows, columns]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    assert!(
        rows % lanes == 0 && columns % lanes == 0,
        "whole blocks are turned"
    );
    (0..rows).step_by(lanes).flat_map(move |row| {
        (0..columns)
            .step_by(lanes)
            .map(move |column| (row * columns + column, column * rows + row))
    })
}

/// `simd` as a `V`, if that is what it is.
#[inline(always)]
fn same<S: Simd, V: Simd>(simd: S) -> Option<V> {
    (&simd as &dyn Any).downcast_ref::<V>().copied()
}

/// 16 x 16: pairs of rows, then quadruples, then the quarters of registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn f32_v4(simd: V4, from: &[f32], sizes: [usize; 2], to: &mut [f32]) {
    for (at, there) in blocks(16, sizes) {
        let mut rows = [simd.splat_f32s(0.0); 16];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = V4::as_simd_f32s(&from[at + i * sizes[1]..][..16]).0[0];
        }
        for (i, row) in f32_sixteen(simd, rows).into_iter().enumerate() {
            V4::as_mut_simd_f32s(&mut to[there + i * sizes[0]..][..16]).0[0] = row;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn f32_sixteen(simd: V4, mut rows: [f32x16; 16]) -> [f32x16; 16] {
    let avx = simd.avx512f;
    let mut fours: [__m512; 16] = [cast(rows[0]); 16];
    for i in (0..16).step_by(4) {
        let a: __m512 = cast(rows[i]);
        let b: __m512 = cast(rows[i + 1]);
        let c: __m512 = cast(rows[i + 2]);
        let d: __m512 = cast(rows[i + 3]);
        let ab: __m512d = cast(avx._mm512_unpacklo_ps(a, b));
        let cd: __m512d = cast(avx._mm512_unpacklo_ps(c, d));
        let ab_high: __m512d = cast(avx._mm512_unpackhi_ps(a, b));
        let cd_high: __m512d = cast(avx._mm512_unpackhi_ps(c, d));
        fours[i] = cast(avx._mm512_unpacklo_pd(ab, cd));
        fours[i + 1] = cast(avx._mm512_unpackhi_pd(ab, cd));
        fours[i + 2] = cast(avx._mm512_unpacklo_pd(ab_high, cd_high));
        fours[i + 3] = cast(avx._mm512_unpackhi_pd(ab_high, cd_high));
    }
    // quarter q of fours[4 g + j] holds column 4 q + j of rows 4 g .. 4 g + 3
    for j in 0..4 {
        let (a, b, c, d) = (fours[j], fours[4 + j], fours[8 + j], fours[12 + j]);
        let (even_ab, even_cd) = (
            avx._mm512_shuffle_f32x4::<0x88>(a, b),
            avx._mm512_shuffle_f32x4::<0x88>(c, d),
        );
        let (odd_ab, odd_cd) = (
            avx._mm512_shuffle_f32x4::<0xdd>(a, b),
            avx._mm512_shuffle_f32x4::<0xdd>(c, d),
        );
        rows[j] = cast(avx._mm512_shuffle_f32x4::<0x88>(even_ab, even_cd));
        rows[4 + j] = cast(avx._mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd));
        rows[8 + j] = cast(avx._mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd));
        rows[12 + j] = cast(avx._mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd));
    }
    rows
}

/// 8 x 8: pairs of rows, then the quarters of registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn f64_v4(simd: V4, from: &[f64], sizes: [usize; 2], to: &mut [f64]) {
    for (at, there) in blocks(8, sizes) {
        let mut rows = [simd.splat_f64s(0.0); 8];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = V4::as_simd_f64s(&from[at + i * sizes[1]..][..8]).0[0];
        }
        for (i, row) in f64_eight(simd, rows).into_iter().enumerate() {
            V4::as_mut_simd_f64s(&mut to[there + i * sizes[0]..][..8]).0[0] = row;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn f64_eight(simd: V4, mut rows: [f64x8; 8]) -> [f64x8; 8] {
    let avx = simd.avx512f;
    let mut pairs: [__m512d; 8] = [cast(rows[0]); 8];
    for i in (0..8).step_by(2) {
        let (a, b): (__m512d, __m512d) = (cast(rows[i]), cast(rows[i + 1]));
        pairs[i] = avx._mm512_unpacklo_pd(a, b);
        pairs[i + 1] = avx._mm512_unpackhi_pd(a, b);
    }
    for j in 0..2 {
        let (a, b, c, d) = (pairs[j], pairs[2 + j], pairs[4 + j], pairs[6 + j]);
        let (even_ab, even_cd) = (
            avx._mm512_shuffle_f64x2::<0x88>(a, b),
            avx._mm512_shuffle_f64x2::<0x88>(c, d),
        );
        let (odd_ab, odd_cd) = (
            avx._mm512_shuffle_f64x2::<0xdd>(a, b),
            avx._mm512_shuffle_f64x2::<0xdd>(c, d),
        );
        rows[j] = cast(avx._mm512_shuffle_f64x2::<0x88>(even_ab, even_cd));
        rows[2 + j] = cast(avx._mm512_shuffle_f64x2::<0x88>(odd_ab, odd_cd));
        rows[4 + j] = cast(avx._mm512_shuffle_f64x2::<0xdd>(even_ab, even_cd));
        rows[6 + j] = cast(avx._mm512_shuffle_f64x2::<0xdd>(odd_ab, odd_cd));
    }
    rows
}

/// In blocks of 8 x 8, whose rows are registers of 256 bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn f32_v3(simd: V3, from: &[f32], sizes: [usize; 2], to: &mut [f32]) {
    for (at, there) in blocks(8, sizes) {
        let mut rows = [simd.splat_f32s(0.0); 8];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = V3::as_simd_f32s(&from[at + i * sizes[1]..][..8]).0[0];
        }
        for (i, row) in f32_eight(simd, rows).into_iter().enumerate() {
            V3::as_mut_simd_f32s(&mut to[there + i * sizes[0]..][..8]).0[0] = row;
        }
    }
}

/// 8 x 8: pairs of rows, then quadruples, then the halves of registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn f32_eight(simd: V3, rows: [f32x8; 8]) -> [f32x8; 8] {
    let avx = simd.avx;
    let mut fours: [__m256; 8] = [cast(rows[0]); 8];
    for i in (0..8).step_by(4) {
        let [a, b, c, d]: [__m256; 4] = [
            cast(rows[i]),
            cast(rows[i + 1]),
            cast(rows[i + 2]),
            cast(rows[i + 3]),
        ];
        let (ab, cd) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpacklo_ps(c, d));
        let (ab_high, cd_high) = (avx._mm256_unpackhi_ps(a, b), avx._mm256_unpackhi_ps(c, d));
        fours[i] = avx._mm256_shuffle_ps::<0x44>(ab, cd);
        fours[i + 1] = avx._mm256_shuffle_ps::<0xee>(ab, cd);
        fours[i + 2] = avx._mm256_shuffle_ps::<0x44>(ab_high, cd_high);
        fours[i + 3] = avx._mm256_shuffle_ps::<0xee>(ab_high, cd_high);
    }
    let mut out = rows;
    for j in 0..4 {
        out[j] = cast(avx._mm256_permute2f128_ps::<0x20>(fours[j], fours[4 + j]));
        out[4 + j] = cast(avx._mm256_permute2f128_ps::<0x31>(fours[j], fours[4 + j]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::vector::instruction_set::available;
    use pulp::WithSimd;

    struct Transpose<'a, T>(&'a mut Square<T>);

    impl<T: Real> WithSimd for Transpose<'_, T> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            self.0.transpose(simd);
        }
    }

    fn check<T: Real + std::fmt::Debug>() {
        for (name, arch) in available() {
            let mut block = Square::<T>::new();
            let value = |i: usize, j: usize| T::from_f64((100 * i + j) as f64);
            for i in 0..T::LANES {
                for j in 0..T::LANES {
                    block.row_mut(i)[j] = value(i, j);
                }
            }
            arch.dispatch(Transpose(&mut block));
            for i in 0..T::LANES {
                for j in 0..T::LANES {
                    assert_eq!(block.row(i)[j], value(j, i), "{name}, {i}, {j}");
                }
            }
        }
    }

    struct Turn<'a, T>(&'a Vec<T>, [usize; 2], &'a mut Vec<T>);

    impl<T: Real> WithSimd for Turn<'_, T> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            turn(simd, self.0, self.1, self.2);
        }
    }

    #[test]
    fn a_matrix_of_several_blocks_is_turned_on_every_instruction_set() {
        for (name, arch) in available() {
            let [rows, columns] = [48, 32];
            let from: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let mut to = vec![0.0; from.len()];
            arch.dispatch(Turn(&from, [rows, columns], &mut to));
            for (i, &value) in to.iter().enumerate() {
                let (column, row) = (i / rows, i % rows);
                assert_eq!(value as usize, row * columns + column, "{name}, {i}");
            }
        }
    }

    #[test]
    fn rows_and_columns_change_places_on_every_instruction_set() {
        check::<f32>();
        check::<f64>();
    }
}
