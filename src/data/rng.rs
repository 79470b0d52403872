//! Random streams that are pure functions of `(seed, purpose, index)`.
//!
//! No generator lives longer than one use: the shuffle of epoch 7 or the noise of step 1234 can be
//! drawn again at any time, in any order, by anyone who knows the seed. That is what makes resuming
//! a run exact without saving a generator's state.
//!
//! Only integer arithmetic and correctly rounded operations stand between the ChaCha words and
//! uniform numbers, so these are the same on every machine and do not depend on how a version of a
//! random-number library turns words into ranges or shuffles.

use crate::words::dtype;
use crate::{Error, Result};
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// What random numbers are for. The ids are part of every run: never renumber them, nor use 7, which older versions knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Order of the training images; index = epoch.
    Shuffle = 1,
    /// Dequantisation noise in training; index = step.
    Noise = 2,
    /// Dequantisation noise in evaluation; index = image.
    EvalNoise = 3,
    /// Random shifts and flips of training images; index = step.
    Augment = 4,
    /// Latents to sample images from; index = batch or level.
    Latent = 5,
    /// Drawing of the built-in digits; index = image.
    Glyphs = 6,
    /// Random inputs of benchmarks and self-checks.
    Probe = 8,
    /// Images of noise; index = split and image.
    NoiseImages = 9,
}

/// The key of the stream of `(seed, purpose, index)`.
///
/// It is the concatenation of the little-endian 64-bit words `seed`, `purpose`, `index` and the ASCII tag `invflow1`:
/// different triples are different keys, and streams under different keys are independent.
pub fn stream_key(seed: u64, purpose: Purpose, index: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[0..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    key[24..32].copy_from_slice(b"invflow1");
    key
}

/// The stream of `(seed, purpose, index)`: ChaCha with 8 rounds under its [key](stream_key), from block 0 on.
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(stream_key(seed, purpose, index))
}

/// A uniform integer in `0..bound`, without bias; `bound` 0 counts as 1.
///
/// Multiplication of a random word by `bound` with rejection of the few words that would favour
/// some results (Lemire, Fast Random Integer Generation in an Interval, 2019,
/// <https://arxiv.org/abs/1805.10941>).
pub fn uniform_below(rng: &mut impl RngCore, bound: u64) -> u64 {
    let bound = bound.max(1);
    let unfair = bound.wrapping_neg() % bound;
    loop {
        let wide = u128::from(rng.next_u64()) * u128::from(bound);
        if wide as u64 >= unfair {
            return (wide >> 64) as u64;
        }
    }
}

/// The order in which epoch `epoch` visits `n` images: a Fisher-Yates shuffle of `0..n`.
pub fn permutation(seed: u64, epoch: u64, n: usize) -> Vec<usize> {
    let mut rng = stream(seed, Purpose::Shuffle, epoch);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, uniform_below(&mut rng, last as u64 + 1) as usize);
    }
    order
}

/// A multiple of 2^-24 in `[0, 1)`: every value is exact in float32, the largest is 1 - 2^-24. On a GPU `kernels/batch.cu`
/// computes the same.
pub(super) fn unit_f32(rng: &mut impl RngCore) -> f32 {
    (rng.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// A multiple of 2^-53 in `[0, 1)`.
fn unit_f64(rng: &mut impl RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform noise in `[0, 1)` of any shape.
///
/// The values are multiples of 2^-24 and the same in both kinds, so a float64 check sees exactly the
/// noise that float32 training saw.
///
/// # Errors
/// A kind other than `Float` and `Double` (a half-precision 1 - 2^-24 would round to 1), a negative
/// size, or a device that is not there.
pub fn uniform_noise(
    rng: &mut impl RngCore,
    shape: &[i64],
    kind: Kind,
    device: Device,
) -> Result<Tensor> {
    let count = count("uniform_noise", shape, kind)?;
    let values: Vec<f32> = (0..count).map(|_| unit_f32(rng)).collect();
    to_tensor(&values, shape, kind, device)
}

/// Standard normal numbers of any shape, the same in both kinds, at most about 8.6 in absolute value.
///
/// Box-Muller (Box and Muller, A Note on the Generation of Random Normal Deviates, 1958): pairs
/// `sqrt(-2 ln(1 - u)) (cos 2πv, sin 2πv)` in float64, rounded to float32. The rounding also hides the last
/// bits in which the logarithms and sines of different machines disagree.
///
/// # Errors
/// As [`uniform_noise`].
pub fn standard_normal(
    rng: &mut impl RngCore,
    shape: &[i64],
    kind: Kind,
    device: Device,
) -> Result<Tensor> {
    let count = count("standard_normal", shape, kind)?;
    to_tensor(&normals(rng, count), shape, kind, device)
}

/// The numbers of [`standard_normal`] that come after the first `skipped` of the stream, which are not drawn.
///
/// # Errors
/// As [`uniform_noise`].
pub fn standard_normal_after(
    mut rng: ChaCha8Rng,
    skipped: u64,
    shape: &[i64],
    kind: Kind,
    device: Device,
) -> Result<Tensor> {
    let count = count("standard_normal_after", shape, kind)?;
    // numbers are drawn two by two, from two words of 64 bits
    rng.set_word_pos(u128::from(skipped / 2) * 4);
    let half = (skipped % 2) as usize;
    to_tensor(
        &normals(&mut rng, count + half)[half..],
        shape,
        kind,
        device,
    )
}

/// The next standard normal numbers of a stream.
fn normals(rng: &mut impl RngCore, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 - u is in (0, 1]: the logarithm is finite
        let radius = (-2.0 * (1.0 - unit_f64(rng)).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * unit_f64(rng)).sin_cos();
        values.extend([(radius * cos) as f32, (radius * sin) as f32]);
    }
    values.truncate(count);
    values
}

/// Number of elements of `shape`, after the checks that both kinds of noise need.
fn count(op: &'static str, shape: &[i64], kind: Kind) -> Result<usize> {
    if !matches!(kind, Kind::Float | Kind::Double) {
        let problem = format!("must be float32 or float64, got {}", dtype(kind));
        return Err(Error::argument(op, "kind", problem));
    }
    let product = shape.iter().try_fold(1usize, |product, &size| {
        product.checked_mul(usize::try_from(size).ok()?)
    });
    product.ok_or_else(|| {
        let problem = format!("has a negative or too large size: {shape:?}");
        Error::argument(op, "shape", problem)
    })
}

fn to_tensor(values: &[f32], shape: &[i64], kind: Kind, device: Device) -> Result<Tensor> {
    let tensor = Tensor::f_from_slice(values)?.f_reshape(shape)?;
    Ok(tensor.f_to_device(device)?.f_to_kind(kind)?)
}
