//! Writes a dictionary of tensors as `torch.save(model.state_dict(), FILE)` does, for `torch.load(FILE)`.

use super::zip_write;
use crate::{files, Error, Result};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// What all entries begin with; PyTorch takes the name of the file, and reads any.
const ROOT: &str = "archive";
/// Pairs that one opcode puts into a dictionary.
const BATCH: usize = 1000;

/// Writes `tensors` to `path`, and `extra`, a JSON text with our configuration, beside them where PyTorch does not look.
///
/// # Errors
/// The file cannot be written, or a tensor has a kind that has no storage class; an older file is left as it was.
pub fn write_state_dict(path: &Path, tensors: Vec<(String, Tensor)>, extra: &str) -> Result<()> {
    let mut tensors = tensors;
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut entries = Vec::with_capacity(tensors.len() + 5);
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R".to_vec();
    let mut storages = Vec::with_capacity(tensors.len());
    for (batch, part) in tensors.chunks(BATCH).enumerate() {
        pickle.push(b'(');
        for (i, (name, tensor)) in part.iter().enumerate() {
            let key = (batch * BATCH + i).to_string();
            describe(&mut pickle, path, (name, tensor), &key)?;
            storages.push((format!("{ROOT}/data/{key}"), bytes(tensor)?));
        }
        pickle.push(b'u');
    }
    pickle.push(b'.');
    entries.push((format!("{ROOT}/data.pkl"), pickle));
    entries.push((format!("{ROOT}/byteorder"), b"little".to_vec()));
    entries.append(&mut storages);
    entries.push((
        format!("{ROOT}/extra/inverse_flow.json"),
        extra.as_bytes().to_vec(),
    ));
    entries.push((format!("{ROOT}/version"), b"3\n".to_vec()));
    let archive = zip_write::archive(&entries);
    files::write(path, archive.map_err(|problem| Error::file(path, problem))?)
}

/// A name and the call that rebuilds its tensor from storage `key`.
fn describe(
    pickle: &mut Vec<u8>,
    path: &Path,
    (name, tensor): (&str, &Tensor),
    key: &str,
) -> Result<()> {
    let Some(class) = super::Dtype::of_kind(tensor.kind()).and_then(super::Dtype::storage) else {
        let kind = crate::words::dtype(tensor.kind());
        let problem = format!("cannot save: `{name}` is {kind}, which has no storage of PyTorch");
        return Err(Error::file(path, problem));
    };
    text(pickle, name);
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(pickle, "storage");
    pickle.extend(format!("ctorch\n{class}\n").as_bytes());
    text(pickle, key);
    text(pickle, "cpu");
    number(pickle, tensor.numel() as i64);
    pickle.extend(b"tQ");
    number(pickle, 0);
    let sizes = tensor.size();
    let mut strides = vec![1; sizes.len()];
    for d in (1..sizes.len()).rev() {
        strides[d - 1] = strides[d] * sizes[d].max(1);
    }
    for numbers in [sizes, strides] {
        pickle.push(b'(');
        for one in numbers {
            number(pickle, one);
        }
        pickle.push(b't');
    }
    // no gradient, no hooks
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    Ok(())
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn number(pickle: &mut Vec<u8>, number: i64) {
    pickle.extend(b"\x8a\x08");
    pickle.extend(number.to_le_bytes());
}

/// The numbers of a tensor, row by row.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let kind: Kind = tensor.kind();
    let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}
