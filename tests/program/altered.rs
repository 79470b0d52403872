//! Models with a number of our choice in them.

use inverse_flow::train::{find_checkpoint, load_model, save_model, Checkpoint};
use std::path::Path;
use tch::Device;

/// Writes the model of the run in `folder/run` to `out`, with the first number of the first variable whose name ends so changed.
pub fn altered(folder: &Path, ending: &str, value: f64, out: &str) {
    let best = find_checkpoint(&folder.join("run")).unwrap();
    let checkpoint = Checkpoint::open(&best).unwrap();
    let (_model, vs) = load_model(&checkpoint, Device::Cpu).unwrap();
    let mut all: Vec<_> = vs.variables().into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let found = all.iter().find(|(name, _)| name.ends_with(ending)).unwrap();
    let _ = tch::no_grad(|| found.1.view(-1).get(0).fill_(value));
    save_model(&folder.join(out), &vs, &checkpoint.config).unwrap();
}
