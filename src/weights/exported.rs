//! Exported programs, `torch.export.save`: the weights beside the graph, each an entry of its own.
//!
//! ```text
//! NAME/archive_format                          pt2
//! NAME/data/weights/model_weights_config.json  {"config": {NAME: {"path_name", "use_pickle", "tensor_meta": {..}}}}
//! NAME/data/weights/weight_0                   numbers, shared by the weights that name it
//! ```

use super::stored::{Contents, Dictionary, Stored};
use super::zip::Archive;
use super::{Dtype, Format, Problem, MAX_DESCRIPTION, MAX_RANK, MAX_TENSORS};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

const MARK: &str = "archive_format";
/// Weights, and tensors that the program keeps but `state_dict` does not list.
const TABLES: [(&str, &str); 2] = [
    ("data/weights/", "model_weights_config.json"),
    ("data/constants/", "model_constants_config.json"),
];

#[derive(Deserialize)]
struct Table {
    config: BTreeMap<String, Weight>,
}

#[derive(Deserialize)]
struct Weight {
    path_name: String,
    #[serde(default)]
    use_pickle: bool,
    tensor_meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    dtype: u64,
    sizes: Vec<Size>,
    strides: Vec<Size>,
    storage_offset: Size,
}

#[derive(Deserialize)]
struct Size {
    as_int: Option<i64>,
}

/// What all entries of an exported program begin with, if the archive is one.
pub(super) fn root(archive: &Archive<'_>) -> Option<String> {
    let mut roots = archive.names().filter_map(|name| {
        let root = name.strip_suffix(MARK)?;
        (root.is_empty() || root.find('/') == Some(root.len() - 1)).then(|| root.to_owned())
    });
    roots.next()
}

/// Reads the tables of an exported program.
pub(super) fn read(archive: &Archive<'_>, root: &str) -> Result<Contents, Problem> {
    let (mut dictionary, mut regions) = (Dictionary::default(), Vec::new());
    let mut known = HashMap::new();
    for (folder, table) in TABLES {
        let name = format!("{root}{folder}{table}");
        let Some(json) = archive.content(&name, MAX_DESCRIPTION)? else {
            continue;
        };
        let table: Table =
            serde_json::from_slice(&json).map_err(|err| format!("`{name}`: {err}"))?;
        if table.config.len() > MAX_TENSORS {
            return Err(format!("has more than {MAX_TENSORS} tensors"));
        }
        for (name, weight) in table.config {
            let entry = format!("{root}{folder}{}", weight.path_name);
            let stored = view(&weight).and_then(|(dtype, sizes, offset)| {
                let region = match known.get(&entry) {
                    Some(region) => *region,
                    None => {
                        let place = archive.place(&entry)?;
                        let place = place.ok_or("has no numbers in the archive")?;
                        regions.push(place.region(false));
                        known.insert(entry, regions.len() - 1);
                        regions.len() - 1
                    }
                };
                let numbers = regions[region].length / dtype.bytes.max(1);
                Stored::strided(dtype, sizes, offset, (region, numbers))
            });
            match stored {
                Ok(stored) => drop(dictionary.tensors.insert(name, stored)),
                Err(reason) => drop(dictionary.unread.insert(name, reason)),
            }
        }
    }
    let mut contents = Contents::new(Format::Exported);
    contents.regions = regions;
    if dictionary.tensors.is_empty() && dictionary.unread.is_empty() {
        contents.nothing = Some(
            "is an exported program of PyTorch (.pt2) without weights that are read here: save them with torch.save(torch.export.load(FILE).state_dict, OUT)".into(),
        );
    } else {
        contents.dictionaries.push(dictionary);
    }
    let program = "the program itself: weights are read, graphs are not";
    contents.left_out.push(program.into());
    Ok(contents)
}

/// What a weight is: kind, sizes and strides, where it begins.
fn view(weight: &Weight) -> Result<(Dtype, [Vec<i64>; 2], u64), Problem> {
    if weight.use_pickle {
        return Err("is a pickle of its own".into());
    }
    let meta = weight.tensor_meta.as_ref();
    let meta = meta.ok_or("is an object and no tensor")?;
    let dtype = Dtype::of_exported(meta.dtype);
    let dtype = dtype.ok_or_else(|| format!("is of the unknown dtype {}", meta.dtype))?;
    let numbers = |sizes: &[Size]| -> Option<Vec<i64>> {
        let few = sizes.len() <= MAX_RANK;
        few.then(|| sizes.iter().map(|size| size.as_int).collect())?
    };
    let sizes = (numbers(&meta.sizes), numbers(&meta.strides));
    let offset = meta.storage_offset.as_int;
    let offset = offset.and_then(|offset| u64::try_from(offset).ok());
    match (sizes, offset) {
        ((Some(sizes), Some(strides)), Some(offset)) => Ok((dtype, [sizes, strides], offset)),
        _ => Err("has sizes that are no numbers".into()),
    }
}
