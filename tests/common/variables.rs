//! Images, and the variables of layers and models: made from a seed, named, moved away from their start.

use crate::device::device;
use crate::random::normal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::{Mutex, PoisonError};
use tch::{nn, Kind, Tensor};

/// Uniform numbers in `[0, 1)`, float64.
pub fn uniform(seed: u64, size: &[i64]) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = size.iter().product::<i64>() as usize;
    let values: Vec<f64> = (0..count).map(|_| rng.random()).collect();
    Tensor::from_slice(&values).view(size).to_device(device())
}

/// Random 8-bit images as float64.
pub fn images(seed: u64, size: &[i64]) -> Tensor {
    (uniform(seed, size) * 256.0).floor()
}

/// An empty store whose variables will be of `kind`, on the device of the tests.
pub fn store(kind: Kind) -> nn::VarStore {
    let mut vs = nn::VarStore::new(device());
    vs.set_kind(kind);
    vs
}

/// What `make` makes with libtorch's global generator at a seed of its own, no matter what other tests draw meanwhile:
/// the parameters of a layer or a model are the same in every run.
pub fn seeded<T>(make: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    // a test that failed inside leaves nothing half done
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(11);
    make()
}

/// Names and tensors of `vs`, sorted.
pub fn named(vs: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}

/// The trainable variables of `vs` with their names.
pub fn trainable(vs: &nn::VarStore) -> Vec<(String, Tensor)> {
    named(vs)
        .into_iter()
        .filter(|(_, variable)| variable.requires_grad())
        .collect()
}

/// Adds `N(0, std^2)` to every trainable variable.
pub fn shake(vs: &nn::VarStore, seed: u64, std: f64) {
    for (index, (_, mut variable)) in (0..).zip(trainable(vs)) {
        let noise = normal(seed * 1000 + index, &variable.size()).to_kind(variable.kind()) * std;
        tch::no_grad(|| variable += noise);
    }
}
