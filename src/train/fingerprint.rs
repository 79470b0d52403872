//! Whether the processes of a run have the same images, and whether two models are the same.

use super::{RunConfig, Team};
use crate::data::Dataset;
use crate::words::counted;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use tch::{nn::VarStore, Device};

/// Images of a data set that are looked at: all of them could take longer to read than a step.
const LOOKED_AT: usize = 64;

/// Numbers of images, and a hash of some of them and of all labels.
fn fingerprint(data: &[&Dataset]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let mut counts = Vec::new();
    for set in data {
        let apart = set.len().div_ceil(LOOKED_AT).max(1);
        let some: Vec<_> = (0..set.len()).step_by(apart).collect();
        let bytes: Vec<u8> = Vec::try_from(&set.batch(&some)?.f_view([-1])?)?;
        (set.chw, &set.labels, bytes).hash(&mut hasher);
        counts.push(counted(set.len(), "image"));
    }
    let hash = hasher.finish();
    Ok(format!("{} ({hash:016x})", counts.join(" and ")))
}

/// Checks that all processes have the same images.
///
/// # Errors
/// They do not, or another process has ended.
pub fn same_everywhere(team: &Team, data: &[&Dataset]) -> Result<()> {
    if team.is_alone() {
        return Ok(());
    }
    let prints = team.texts(&fingerprint(data)?)?;
    match prints.iter().position(|print| *print != prints[0]) {
        Some(rank) => Err(Error::config(format!(
            "rank {rank} has other images than rank 0: {}, not {}; give all machines the same data files",
            prints[rank], prints[0]
        ))),
        None => Ok(()),
    }
}

/// A hash of a model: of its configuration and of all its numbers.
///
/// # Errors
/// What libtorch reports.
pub fn model_fingerprint(config: &RunConfig, vs: &VarStore) -> Result<String> {
    let model = serde_json::to_vec(&(&config.model, config.bits))
        .map_err(|err| Error::config(format!("the model's configuration: {err}")))?;
    let mut hash = Sha256::new();
    hash.update(model);
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, variable) in variables {
        let numbers = variable.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; numbers.numel() * numbers.kind().elt_size_in_bytes()];
        numbers.f_copy_data_u8(&mut bytes, numbers.numel())?;
        hash.update(format!("{name} {:?}", numbers.size()));
        hash.update(bytes);
    }
    Ok(hex(&hash.finalize()[..16]))
}

/// A hash of a file, read piece by piece.
///
/// # Errors
/// It cannot be read.
pub(super) fn file_fingerprint(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hash))
        .map_err(|err| Error::file(path, err))?;
    Ok(hex(&hash.finalize()[..16]))
}

/// A hash of bytes.
pub fn bytes_fingerprint(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_images_or_labels_have_another_fingerprint() {
        let set = |first: u8, label: u16| {
            Dataset::new("test", [1, 1, 2], vec![first, 1, 2, 3], vec![label, 1]).unwrap()
        };
        let print = |set: &Dataset| fingerprint(&[set]).unwrap();
        assert_eq!(print(&set(0, 0)), print(&set(0, 0)));
        assert_ne!(print(&set(0, 0)), print(&set(1, 0)));
        assert_ne!(print(&set(0, 0)), print(&set(0, 2)));
        let none = Dataset::new("test", [1, 1, 2], vec![], vec![]).unwrap();
        assert!(print(&none).starts_with("0 images"));
    }
}
