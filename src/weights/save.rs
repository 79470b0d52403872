//! Named tensors into files: whole or not at all.

use super::checksums::Checksums;
use super::Dtype;
use crate::words::dtype;
use crate::{files, Error, Result};
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Tensor};

/// Writes `tensors` with `metadata` to `path`, and a checksum of each into the text `crc32` of the metadata.
///
/// # Errors
/// The file cannot be written, or a tensor has a kind that the format lacks; an older file is left as it was.
pub fn write_safetensors(
    path: &Path,
    tensors: Vec<(String, Tensor)>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let failed = |err: &dyn std::fmt::Display| Error::file(path, format!("cannot save: {err}"));
    let mut owned = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        owned.push((name, Owned::new(&tensor)?));
    }
    let mut views = Vec::with_capacity(owned.len());
    for (name, tensor) in &owned {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        views.push((name, view.map_err(|err| failed(&err))?));
    }
    let mut metadata = metadata;
    let content = owned
        .iter()
        .map(|(name, tensor)| (&name[..], &tensor.bytes[..]));
    Checksums::of(content, &metadata)
        .state_in(&mut metadata)
        .map_err(|err| failed(&err))?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|err| failed(&err))?;
    files::write(path, bytes)
}

/// Writes `tensors` to `path` in tch's own format, which its `VarStore::load` reads; it has no place for anything else.
///
/// # Errors
/// The file cannot be written; an older one is left as it was.
pub fn write_ot(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<()> {
    let failed = |err: &dyn std::fmt::Display| Error::file(path, format!("cannot save: {err}"));
    let on_cpu = tensors.into_iter().map(|(name, tensor)| {
        let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
        Ok((name, tensor))
    });
    let mut on_cpu = on_cpu.collect::<Result<Vec<_>>>()?;
    on_cpu.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut bytes = Vec::new();
    let written = Tensor::save_multi_to_stream(&on_cpu, &mut bytes).map_err(Error::from);
    written.map_err(|err| failed(&err))?;
    files::write(path, bytes)
}

/// A tensor's content on the CPU, row by row.
struct Owned {
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Owned {
    fn new(tensor: &Tensor) -> Result<Self> {
        let kind = tensor.kind();
        let Some(dtype) = Dtype::of_kind(kind).and_then(Dtype::to_safetensors) else {
            let problem = format!("is {}, which a checkpoint cannot hold", dtype(kind));
            return Err(Error::argument("write_safetensors", "tensors", problem));
        };
        let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        Ok(Self {
            dtype,
            shape: tensor.size().iter().map(|&size| size as usize).collect(),
            bytes,
        })
    }
}
