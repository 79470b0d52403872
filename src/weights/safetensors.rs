//! The header of a safetensors file: `u64 length, JSON, data`.

use super::state_file::{Region, Stored};
use super::{Dtype, Problem, MAX_DESCRIPTION, MAX_NAMES, MAX_RANK, MAX_TENSORS};
use safetensors::tensor::Metadata;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What a header says, compared with the length of the file.
pub(super) struct Header {
    pub tensors: BTreeMap<String, Stored>,
    pub regions: Vec<Region>,
    pub metadata: HashMap<String, String>,
}

/// Reads the header of a file of `length` bytes.
pub(super) fn read(file: &File, length: u64) -> Result<Header, Problem> {
    let mut size = [0; 8];
    file.read_exact_at(&mut size, 0)
        .map_err(|err| damaged(&err))?;
    let size = u64::from_le_bytes(size);
    if size > length.saturating_sub(8) {
        return Err(damaged(&"its header is longer than the file"));
    }
    if size > MAX_DESCRIPTION {
        return Err(format!(
            "its header has {size} bytes, and {MAX_DESCRIPTION} are the most that is read"
        ));
    }
    let mut json = vec![0; size as usize];
    file.read_exact_at(&mut json, 8)
        .map_err(|err| damaged(&err))?;
    // checks that the tensors lie side by side and have the bytes that their shapes need
    let header: Metadata = serde_json::from_slice(&json).map_err(|err| damaged(&err))?;
    drop(json);
    let data = 8 + size;
    if header.data_len() as u64 != length - data {
        return Err(damaged(&format!(
            "{} bytes of data, its header speaks of {}",
            length - data,
            header.data_len()
        )));
    }
    let described = header.tensors();
    if described.len() > MAX_TENSORS || described.keys().map(String::len).sum::<usize>() > MAX_NAMES
    {
        return Err(format!("has more than {MAX_TENSORS} tensors"));
    }
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
            crc: None,
            big_endian: false,
        });
        tensors.insert(name, stored);
    }
    Ok(Header {
        tensors,
        regions,
        metadata: header.metadata().clone().unwrap_or_default(),
    })
}

fn dtype(theirs: safetensors::Dtype) -> Dtype {
    Dtype::of_safetensors(&theirs.to_string())
}

fn damaged(err: &dyn std::fmt::Display) -> Problem {
    format!(
        "not a whole safetensors file ({err}): use another checkpoint of the run or train again"
    )
}
