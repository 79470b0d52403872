//! Named tensors in a safetensors file: whole or not at all, in both directions.

use crate::{Error, Result};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// The kinds of tensors that models hold, and their names in the format.
const KINDS: [(Kind, Dtype); 6] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
    (Kind::Bool, Dtype::BOOL),
];

/// Differences listed by name in an error before the rest is only counted.
const LISTED: usize = 20;

/// Writes `tensors` with `metadata` beside `path`, flushes them to the disk and renames the file to `path`.
///
/// # Errors
/// The file cannot be written, or a tensor has a kind that the format lacks.
pub fn write(
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
    replace_file(path, &bytes).map_err(|err| failed(&err))
}

/// Puts `bytes` in the place of `path` in one step: a reader, or a process after a crash, sees the old file or the
/// new one.
///
/// # Errors
/// It cannot be written.
pub fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = OsString::from(path);
    beside.push(".tmp");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // the rename itself is safe only when the folder is on the disk too
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// A tensor's content on the CPU, row by row.
struct Owned {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Owned {
    fn new(tensor: &Tensor) -> Result<Self> {
        let kind = tensor.kind();
        let Some((_, dtype)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            let problem = format!("has kind {kind:?}, which a checkpoint cannot hold");
            return Err(Error::argument("archive::write", "tensors", problem));
        };
        let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        Ok(Self {
            dtype: *dtype,
            shape: tensor.size().iter().map(|&size| size as usize).collect(),
            bytes,
        })
    }
}

/// A safetensors file in memory, its header checked against its size.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl Archive {
    /// Reads a file.
    ///
    /// # Errors
    /// It is missing, unreadable, cut off or not safetensors.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|err| Error::file(path, err))?;
        let metadata = match SafeTensors::read_metadata(&bytes) {
            Ok((_, metadata)) => metadata.metadata().clone().unwrap_or_default(),
            Err(err) => return Err(damaged(path, err)),
        };
        Ok(Self {
            path: path.to_path_buf(),
            bytes,
            metadata,
        })
    }

    /// The file.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// A text of the header.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Copies the file's tensors into `targets`; every target is filled and every key is used, except those that
    /// `ignored` accepts.
    ///
    /// # Errors
    /// Keys that are missing, unexpected or of another shape or kind, all of them listed; then nothing is changed.
    pub fn load(
        &self,
        targets: Vec<(String, Tensor)>,
        ignored: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|err| damaged(&self.path, err))?;
        let mut stored: BTreeMap<String, TensorView> = file
            .tensors()
            .into_iter()
            .filter(|(name, _)| !ignored(name))
            .collect();
        let targets: BTreeMap<String, Tensor> = targets.into_iter().collect();
        let (mut problems, mut pairs) = (Vec::new(), Vec::new());
        for (name, target) in targets {
            match stored.remove(&name) {
                None => problems.push(format!("missing `{name}`")),
                Some(view) => match difference(&view, &target) {
                    Some(difference) => problems.push(format!("`{name}` {difference}")),
                    None => pairs.push((view, target)),
                },
            }
        }
        problems.extend(stored.keys().map(|name| format!("unexpected `{name}`")));
        if !problems.is_empty() {
            return Err(self.does_not_fit(&problems));
        }
        // every tensor is read before the first is written: a failure changes nothing
        let mut ready = Vec::with_capacity(pairs.len());
        for (view, target) in pairs {
            let content = Tensor::f_from_data_size(view.data(), &target.size(), target.kind())?;
            ready.push((content, target));
        }
        tch::no_grad(|| {
            for (content, mut target) in ready {
                target.f_copy_(&content)?;
            }
            Ok(())
        })
    }

    fn does_not_fit(&self, problems: &[String]) -> Error {
        let mut text = problems[..problems.len().min(LISTED)].join(", ");
        if problems.len() > LISTED {
            text += &format!(" and {} more", problems.len() - LISTED);
        }
        Error::file(&self.path, format!("does not fit the model: {text}"))
    }
}

fn damaged(path: &Path, err: impl std::fmt::Display) -> Error {
    let problem = format!(
        "not a whole safetensors file ({err}): use another checkpoint of the run or train again"
    );
    Error::file(path, problem)
}

/// How a stored tensor differs from the one it is for, if it does.
fn difference(view: &TensorView, target: &Tensor) -> Option<String> {
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    let kind = KINDS.iter().find(|(_, dtype)| *dtype == view.dtype());
    let same_kind = kind.is_some_and(|(kind, _)| *kind == target.kind());
    (!same_kind || shape != target.size()).then(|| {
        format!(
            "is {:?} {shape:?} in the file, {:?} {:?} in the model",
            view.dtype(),
            target.kind(),
            target.size()
        )
    })
}
