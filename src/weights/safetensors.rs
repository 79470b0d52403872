//! The header of a safetensors file: `u64 length, JSON, data`.

use super::checksums::Checksums;
use super::stored::{Contents, Dictionary, Region, Stored};
use super::{Dtype, Format, Problem, MAX_DESCRIPTION, MAX_RANK, MAX_TENSORS};
use crate::words::counted;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Formatter;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Most texts in the metadata.
const MAX_TEXTS: usize = 1 << 12;

/// Reads the header of a file of `length` bytes.
pub(super) fn read(file: &File, length: u64) -> Result<Contents, Problem> {
    let mut size = [0; 8];
    file.read_exact_at(&mut size, 0)
        .map_err(|err| damaged(&err))?;
    let size = u64::from_le_bytes(size);
    if size > length.saturating_sub(8) {
        return Err(damaged(&"its header is longer than the file"));
    }
    if size > MAX_DESCRIPTION {
        return Err(format!(
            "its header has {}, and at most {MAX_DESCRIPTION} are read",
            counted(size, "byte")
        ));
    }
    let mut json = vec![0; size as usize];
    file.read_exact_at(&mut json, 8)
        .map_err(|err| damaged(&err))?;
    let Entries {
        metadata,
        mut tensors,
    } = serde_json::from_slice(&json).map_err(|err| damaged(&err))?;
    drop(json);
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    // checks that the tensors lie side by side and have the bytes that their shapes need
    let header = Metadata::new(metadata, tensors).map_err(|err| damaged(&err))?;
    let data = 8 + size;
    if header.data_len() as u64 != length - data {
        return Err(damaged(&format!(
            "{} of data, its header speaks of {}",
            counted(length - data, "byte"),
            header.data_len()
        )));
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    let checksums = Checksums::stated(&metadata)?;
    let described = header.tensors();
    let (mut tensors, mut regions) = (BTreeMap::new(), Vec::new());
    for (name, info) in described {
        if info.shape.len() > MAX_RANK {
            return Err(format!("`{name}` has more than {MAX_RANK} dimensions"));
        }
        let sizes = info.shape.iter().map(|&size| i64::try_from(size));
        let shape = sizes
            .collect::<Result<Vec<i64>, _>>()
            .map_err(|err| damaged(&err))?;
        let stored = Stored::contiguous(dtype(info.dtype), shape, regions.len());
        let (start, end) = info.data_offsets;
        regions.push(Region {
            start: data + start as u64,
            length: (end - start) as u64,
            crc: checksums.of_tensor(&name),
            big_endian: false,
        });
        tensors.insert(name, stored);
    }
    let mut contents = Contents::new(Format::Safetensors);
    contents.dictionaries.push(Dictionary {
        tensors,
        ..Dictionary::default()
    });
    contents.regions = regions;
    contents.metadata = metadata;
    Ok(contents)
}

/// The entries of the JSON in their order. The crate's own reader takes several times the memory on the way.
struct Entries {
    metadata: Option<HashMap<String, String>>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut metadata, mut tensors) = (None, Vec::new());
                let mut names = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        let Texts(texts) = map.next_value()?;
                        metadata = Some(texts);
                        continue;
                    }
                    if tensors.len() >= MAX_TENSORS {
                        let problem = format!("more than {MAX_TENSORS} tensors");
                        return Err(A::Error::custom(problem));
                    }
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom("two tensors of one name"));
                    }
                    tensors.push((name, map.next_value()?));
                }
                Ok(Entries { metadata, tensors })
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The metadata: few texts, which may be long.
struct Texts(HashMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Texts;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = HashMap::new();
                while let Some((name, text)) = map.next_entry()? {
                    if texts.len() >= MAX_TEXTS {
                        let problem = format!("more than {MAX_TEXTS} texts of metadata");
                        return Err(A::Error::custom(problem));
                    }
                    texts.insert(name, text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn dtype(theirs: safetensors::Dtype) -> Dtype {
    Dtype::of_safetensors(&theirs.to_string())
}

fn damaged(err: &dyn std::fmt::Display) -> Problem {
    format!(
        "not a whole safetensors file ({err}): use another checkpoint of the run or train again"
    )
}
