//! Several arrays in one file, and which of them are images and labels of which split.
//!
//! | names | what they are |
//! |---|---|
//! | one array of images | all images |
//! | with `train`, `val`, `test` in the name | the images of that split (`x_train`, `test_images`, ...) |
//! | an array of one integer an image, of the same split | its labels |

use super::found::{Found, Images};
use super::layout::{Array, Numbers};
use super::npy;
use crate::data::Split;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use zip::ZipArchive;

/// Most bytes that an entry of an archive may unpack to: what says more would be a bomb.
const MAX_ENTRY: u64 = 1 << 38;

/// The arrays of a `.npz`, by name.
pub(super) fn npz(file: File) -> Result<BTreeMap<String, Array>, String> {
    let damaged = |err: &dyn std::fmt::Display| format!("damaged .npz: {err}");
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|err| damaged(&err))?;
    let mut arrays = BTreeMap::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|err| damaged(&err))?;
        let Some(name) = entry.name().strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        let size = entry.size();
        if size > MAX_ENTRY {
            return Err(format!(
                "`{name}` claims to unpack to {}",
                crate::words::counted(size, "byte")
            ));
        }
        let mut bytes = Vec::new();
        // one more byte than it may have shows that it has more
        let read = entry.by_ref().take(size + 1).read_to_end(&mut bytes);
        read.map_err(|err| damaged(&format!("`{name}`: {err}")))?;
        let array = npy::read(&bytes).map_err(|problem| format!("`{name}` {problem}"))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// The tensors of a `.safetensors`, by name.
pub(super) fn safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Array>, String> {
    let damaged = |err: &dyn std::fmt::Display| format!("damaged .safetensors: {err}");
    let tensors = SafeTensors::deserialize(bytes).map_err(|err| damaged(&err))?;
    let arrays = tensors.iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::U8 => "|u1",
            Dtype::BOOL => "|b1",
            Dtype::I8 => "|i1",
            Dtype::U16 => "<u2",
            Dtype::I16 => "<i2",
            Dtype::U32 => "<u4",
            Dtype::I32 => "<i4",
            Dtype::U64 => "<u8",
            Dtype::I64 => "<i8",
            other => {
                let numbers = Numbers::Other(format!("numbers of dtype {other:?}"));
                return (
                    name.to_owned(),
                    Array {
                        shape: view.shape().to_vec(),
                        numbers,
                    },
                );
            }
        };
        let numbers = npy::numbers(dtype, view.data());
        (
            name.to_owned(),
            Array {
                shape: view.shape().to_vec(),
                numbers,
            },
        )
    });
    Ok(arrays.collect())
}

/// The split that a name speaks of.
fn split_of(name: &str) -> Option<Split> {
    let name = name.to_lowercase();
    [
        ("train", Split::Train),
        ("val", Split::Val),
        ("test", Split::Test),
    ]
    .into_iter()
    .find_map(|(word, split)| name.contains(word).then_some(split))
}

/// What the arrays mean together.
///
/// # Errors
/// No images, several that could be the same, or what is wrong with them.
pub(super) fn found(mut arrays: BTreeMap<String, Array>) -> Result<Found, String> {
    let names = |arrays: &BTreeMap<String, Array>| {
        arrays
            .iter()
            .map(|(name, array)| format!("`{name}` {:?}", array.shape))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let all = names(&arrays);
    let images: Vec<String> = arrays
        .iter()
        .filter(|(_, array)| array.like_images())
        .map(|(name, _)| name.clone())
        .collect();
    if images.is_empty() {
        return Err(format!(
            "holds no images: [N, H, W], [N, H, W, C] or [N, C, H, W]; it has {}",
            if all.is_empty() { "no arrays" } else { &all }
        ));
    }
    let mut by_split: BTreeMap<&str, Images> = BTreeMap::new();
    for name in images {
        let split = match split_of(&name) {
            None | Some(Split::Train) => "train",
            Some(Split::Val) => "val",
            Some(Split::Test) => "test",
        };
        if by_split.contains_key(split) {
            return Err(format!(
                "has several arrays that could be the images of {split}: {all}; name them x_train, x_val, x_test"
            ));
        }
        let Some(array) = arrays.remove(&name) else {
            continue;
        };
        let mut images = array
            .images()
            .map_err(|problem| format!("`{name}` {problem}"))?;
        let count = images.labels.len();
        let same_split = |other: &str| split_of(other) == split_of(&name);
        let labels: Vec<Vec<u16>> = arrays
            .iter()
            .filter(|(other, _)| same_split(other))
            .filter_map(|(_, array)| array.labels(count))
            .collect();
        // of several integers an image nobody knows which is its class
        if let [labels] = &labels[..] {
            images.labels.clone_from(labels);
        }
        by_split.insert(split, images);
    }
    let val = by_split.remove("val");
    let test = by_split.remove("test");
    let train = by_split
        .remove("train")
        .ok_or_else(|| format!("has no training images: {all}; name them x_train"))?;
    for (split, other) in [("val", &val), ("test", &test)] {
        if let Some(other) = other.as_ref().filter(|other| other.chw != train.chw) {
            return Err(format!(
                "has training images of {:?}, but images of {split} of {:?}",
                train.chw, other.chw
            ));
        }
    }
    Ok(Found {
        train,
        val,
        test,
        classes: Vec::new(),
    })
}
