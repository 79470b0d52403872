//! Element types, their vectors, and the microkernel.

use crate::ffi::memory::Element;
use crate::{Error, Result};
use pulp::{Arch, Simd};
use std::ops::{Add, AddAssign, Mul};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

/// What the kernels do with their element types.
pub trait Real:
    Element + Default + PartialOrd + Add<Output = Self> + Mul<Output = Self> + AddAssign
{
    /// A vector of the instruction set `S`.
    type Vector<S: Simd>: Copy + Send + Sync;
    /// A cell that threads may share.
    type Cell: Default + Send + Sync;

    /// Images in a tile, and rows in a strip: the lanes of one 512-bit vector.
    const LANES: usize;

    /// Without its sign.
    fn absolute(self) -> Self;
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
    ($t:ty, $vectors:ident, $lanes:ident, $full:literal, $cell:ty, $mul_add:ident, $reduce:ident, $splat:ident,
     $less_or_equal:ident, $select:ident, $as_simd:ident, $as_mut_simd:ident) => {
        impl Real for $t {
            type Vector<S: Simd> = S::$vectors;
            type Cell = $cell;
            const LANES: usize = $full;

            #[inline(always)]
            fn absolute(self) -> Self {
                self.abs()
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
    f32s,
    F32_LANES,
    16,
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
    f64s,
    F64_LANES,
    8,
    AtomicU64,
    mul_add_e_f64s,
    reduce_sum_f64s,
    splat_f64s,
    less_than_or_equal_f64s,
    select_f64s,
    as_simd_f64s,
    as_mut_simd_f64s
);

/// The environment variable that chooses an instruction set.
const VARIABLE: &str = "INVERSE_FLOW_SIMD";

/// The instruction set in use, by name: the best one that the machine has, or the one that the environment variable
/// `INVERSE_FLOW_SIMD` (`avx512`, `avx2`, `baseline`) asks for. It is read once.
///
/// # Errors
/// [`Error::Config`] if the variable asks for a set that does not exist or that the machine has not.
pub fn instruction_set() -> Result<&'static str> {
    match chosen() {
        Ok((name, _)) => Ok(name),
        Err(problem) => Err(Error::config(problem.clone())),
    }
}

/// The instruction set in use. The operators ask for [`instruction_set`] first, so that a wrong wish is an error there.
pub fn arch() -> Arch {
    chosen().as_ref().map_or_else(|_| Arch::new(), |set| set.1)
}

type Set = (&'static str, Arch);

fn chosen() -> &'static Result<Set, String> {
    static CHOSEN: OnceLock<Result<Set, String>> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let wanted = std::env::var_os(VARIABLE).unwrap_or_default();
        choose(&wanted.to_string_lossy(), available())
    })
}

/// The set named `wanted`, or the last and best one if nothing is wanted.
fn choose(wanted: &str, available: Vec<Set>) -> Result<Set, String> {
    let names: Vec<_> = available.iter().map(|set| set.0).collect();
    let mut best_first = available.into_iter().rev();
    best_first
        .find(|(name, _)| wanted.is_empty() || *name == wanted)
        .ok_or_else(|| {
            format!(
                "{VARIABLE}={wanted}: this machine has the instruction sets {}; set the variable to one of them or unset it",
                names.join(", ")
            )
        })
}

/// The instruction sets that this machine has, by name; the best one is last.
pub fn available() -> Vec<(&'static str, Arch)> {
    let mut sets = vec![("baseline", Arch::Scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        sets.extend(pulp::x86::V3::try_new().map(|simd| ("avx2", Arch::V3(simd))));
        sets.extend(pulp::x86::V4::try_new().map(|simd| ("avx512", Arch::V4(simd))));
    }
    sets
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_set_or_the_best_one_is_chosen_and_an_unknown_one_is_an_error() {
        let sets = || vec![("baseline", Arch::Scalar), ("avx2", Arch::new())];
        assert_eq!(choose("", sets()).map(|set| set.0), Ok("avx2"));
        assert_eq!(choose("baseline", sets()).map(|set| set.0), Ok("baseline"));
        for missing in ["avx512", "AVX2", "sse9"] {
            let problem = choose(missing, sets()).map(|set| set.0).unwrap_err();
            let expected = format!("INVERSE_FLOW_SIMD={missing}: this machine has the instruction sets baseline, avx2;");
            assert!(problem.starts_with(&expected), "{problem}");
        }
    }
}
