//! Random tensors from seeds.

use crate::device::device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

/// Standard normal numbers, float64, from a seed, the same on every device (libtorch's generator is global and tests run in
/// parallel).
pub fn normal(seed: u64, size: &[i64]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = size.iter().product::<i64>() as usize;
    let values: Vec<f64> = (0..count)
        .map(|_| {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
        })
        .collect();
    Tensor::from_slice(&values).view(size).to_device(device())
}
