//! Float types of the CPU kernels: their arithmetic, and their vectors.

use crate::ffi::memory::Float;
use pulp::Simd;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the kernels do with their element types.
pub trait Real:
    Float
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// A vector of the instruction set `S`.
    type Vector<S: Simd>: Copy + Send + Sync;
    /// A cell that threads may share.
    type Cell: Default + Send + Sync;

    /// Images in a tile, and rows in a strip: the lanes of one 512-bit vector.
    const LANES: usize;
    /// Numbers whose product, or whose inverse, an f64 still holds.
    const FACTORS_IN_F64: usize;

    /// Without its sign.
    fn absolute(self) -> Self;
    /// Square root.
    fn root(self) -> Self;
    /// `e^self`.
    fn exp(self) -> Self;
    /// `e^self - 1`, exact near 0 too.
    fn exp_m1(self) -> Self;
    /// A small whole number as an index.
    fn to_index(self) -> usize;
    /// Widened.
    fn to_f64(self) -> f64;
    /// Rounded to nearest.
    fn from_f64(value: f64) -> Self;
    /// Lanes of a vector of `S`: 16, 8, 4 or 1.
    fn lanes<S: Simd>() -> usize;
    /// The value in every lane.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// `a b + c`, in one rounding where the machine has the instruction.
    fn mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// `value` where `gate` is not zero or below, 0 elsewhere; a NaN in the gate lets the value pass.
    fn gate<S: Simd>(simd: S, gate: Self::Vector<S>, value: Self::Vector<S>) -> Self::Vector<S>;
    /// Sum of the lanes.
    fn reduce<S: Simd>(simd: S, a: Self::Vector<S>) -> f64;
    /// The whole vectors in `slice`, from its start.
    fn vectors<S: Simd>(slice: &[Self]) -> &[Self::Vector<S>];
    /// As [`vectors`](Real::vectors), for writing.
    fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [Self::Vector<S>];
    /// Stores into a shared cell.
    fn store(self, cell: &Self::Cell);
    /// Reads a shared cell.
    fn load(cell: &Self::Cell) -> Self;
}

macro_rules! real {
    ($t:ty, $exp:path, $exp_m1:path, $vectors:ident, $lanes:ident, $full:literal, $factors:literal, $cell:ty, $mul_add:ident, $reduce:ident, $splat:ident,
     $less_or_equal:ident, $select:ident, $as_simd:ident, $as_mut_simd:ident) => {
        impl Real for $t {
            type Vector<S: Simd> = S::$vectors;
            type Cell = $cell;
            const LANES: usize = $full;
            const FACTORS_IN_F64: usize = $factors;

            #[inline(always)]
            fn absolute(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                $exp_m1(self)
            }
            #[inline(always)]
            fn to_index(self) -> usize {
                self as i32 as usize
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vectors {
                simd.$splat(value)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(
                simd: S,
                a: S::$vectors,
                b: S::$vectors,
                c: S::$vectors,
            ) -> S::$vectors {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn gate<S: Simd>(simd: S, gate: S::$vectors, value: S::$vectors) -> S::$vectors {
                let zero = simd.$splat(0.0);
                simd.$select(simd.$less_or_equal(gate, zero), zero, value)
            }
            #[inline(always)]
            fn reduce<S: Simd>(simd: S, a: S::$vectors) -> f64 {
                f64::from(simd.$reduce(a))
            }
            #[inline(always)]
            fn vectors<S: Simd>(slice: &[Self]) -> &[S::$vectors] {
                S::$as_simd(slice).0
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [S::$vectors] {
                S::$as_mut_simd(slice).0
            }
            fn store(self, cell: &$cell) {
                cell.store(self.to_bits(), Ordering::Relaxed);
            }
            fn load(cell: &$cell) -> Self {
                Self::from_bits(cell.load(Ordering::Relaxed))
            }
        }
    };
}

real!(
    f32,
    exp_f32,
    exp_m1_f32,
    f32s,
    F32_LANES,
    16,
    8, // of up to 38 decades either way
    AtomicU32,
    mul_add_e_f32s,
    reduce_sum_f32s,
    splat_f32s,
    less_than_or_equal_f32s,
    select_f32s,
    as_simd_f32s,
    as_mut_simd_f32s
);
real!(
    f64,
    f64::exp,
    f64::exp_m1,
    f64s,
    F64_LANES,
    8,
    1,
    AtomicU64,
    mul_add_e_f64s,
    reduce_sum_f64s,
    splat_f64s,
    less_than_or_equal_f64s,
    select_f64s,
    as_simd_f64s,
    as_mut_simd_f64s
);

/// `e^x`: `2^n p(r)` with `x = n ln 2 + r` and p the Taylor polynomial, `|r| <= ln(2) / 2`: error below 2 units in the last
/// place, and plain arithmetic that is vectorised. Results beyond the normal numbers stop at the last one.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer, in the low bits
    const LN2_HIGH: f32 = 0.693_359_4; // 10 bits, so that its product with n is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + coefficient;
    }
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    p * f32::from_bits(exponent << 23)
}

/// `e^x - 1`: the Taylor polynomial where the difference would lose digits, plain arithmetic like [`exp_f32`].
#[inline(always)]
fn exp_m1_f32(x: f32) -> f32 {
    let mut p = 1.0 / 40_320.0;
    for coefficient in [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ] {
        p = p * x + coefficient;
    }
    let far = exp_f32(x) - 1.0;
    if x.abs() < 0.4 {
        p * x
    } else {
        far
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_units_in_the_last_place() {
        for step in -86_990..=87_990 {
            let x = step as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(Real::exp(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error:e}");
        }
        assert_eq!(Real::exp(0.0f32), 1.0);
        assert!(Real::exp(f32::NAN).is_nan());
        assert!(Real::exp(f32::INFINITY) > 1e38 && Real::exp(f32::NEG_INFINITY) < 1e-37);
    }
}
