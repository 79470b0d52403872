//! Named tensors into files: whole or not at all.

use super::Dtype;
use crate::{Error, Result};
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::{Device, Tensor};

/// Writes `tensors` with `metadata` beside `path`, flushes them to the disk and renames the file to `path`.
///
/// # Errors
/// The file cannot be written, or a tensor has a kind that the format lacks.
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
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|err| failed(&err))?;
    replace_file(path, &bytes)
}

/// Writes `tensors` to `path` in tch's own format, which its `VarStore::load` reads; it has no place for anything else.
///
/// # Errors
/// The file cannot be written.
pub fn write_ot(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<()> {
    let failed = |err: &dyn std::fmt::Display| Error::file(path, format!("cannot save: {err}"));
    let on_cpu = tensors.into_iter().map(|(name, tensor)| {
        let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
        Ok((name, tensor))
    });
    let mut on_cpu = on_cpu.collect::<Result<Vec<_>>>()?;
    on_cpu.sort_by(|(a, _), (b, _)| a.cmp(b));
    let beside = beside(path);
    let written = Tensor::save_multi(&on_cpu, &beside).map_err(Error::from);
    written.map_err(|err| failed(&err))?;
    put_in_place(&beside, path).map_err(|err| failed(&err))
}

/// Puts `bytes` in the place of `path` in one step: a reader, or a process after a crash, sees the old file or the
/// new one.
///
/// # Errors
/// The file cannot be written.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(path);
    File::create(&beside)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| put_in_place(&beside, path))
        .map_err(|err| Error::file(path, format!("cannot save: {err}")))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

/// Renames a file once its content is on the disk.
fn put_in_place(beside: &Path, path: &Path) -> std::io::Result<()> {
    File::open(beside)?.sync_all()?;
    std::fs::rename(beside, path)?;
    // the rename itself is safe only when the folder is on the disk too
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
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
            let problem = format!("has kind {kind:?}, which a checkpoint cannot hold");
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
