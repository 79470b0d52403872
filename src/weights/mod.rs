//! Named tensors in files of every kind that users of this crate, of tch and of PyTorch have; read without running
//! anything, and whole or not at all.
//!
//! | file | what it holds |
//! |---|---|
//! | `state_file` | [`StateFile`]: an opened file, its names, shapes and dtypes; the data stay on the disk |
//! | `stored` | [`Stored`]: a tensor as it lies in a file |
//! | `format`, `foreign` | which [`Format`] a file has, by its content; names for what is none |
//! | `safetensors` | the header of a safetensors file, and [`write_safetensors`] |
//! | `zip`, `zip_write` | the directory of a zip archive, which `torch.save` and `torch.jit.save` write; and such an archive |
//! | `pickle` | a reader of pickles that builds tensors and containers and calls nothing |
//! | `torch`, `legacy`, `exported` | PyTorch's files: archives, those before version 1.6, exported programs |
//! | `found`, `modules` | every dictionary of tensors in what a pickle made; modules count as such |
//! | `sources`, `names`, `published` | from a file's keys to a model's variables; the layout of the paper's own code |
//! | `load`, `compare` | compares all of a file with all of a model, then copies |
//! | `dtype` | kinds of numbers, and which turn into which without loss |
//! | `save`, `state_dict` | [`write_safetensors`], [`write_ot`], [`write_state_dict`] |
//! | `checksums` | a checksum for each tensor of a safetensors file of ours |
//!
//! The names in a file, and its numbers in the variables of a model:
//!
//! ```
//! use inverse_flow::weights::{write_safetensors, Naming, StateFile};
//! use std::collections::HashMap;
//! use tch::{nn::VarStore, Device, Kind, Tensor};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("model.safetensors"); // or .pt of PyTorch, .ot of tch
//! let ones = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
//! write_safetensors(&path, vec![("net.weight".into(), ones)], HashMap::new())?;
//!
//! let file = StateFile::open(&path)?;
//! for (name, stored) in file.tensors() {
//!     println!("{name}: {} {:?}", stored.dtype, stored.shape); // net.weight: float32 [2, 3]
//! }
//!
//! let vs = VarStore::new(Device::Cpu);
//! let weight = (vs.root() / "net").zeros("weight", &[2, 3]);
//! file.load(vs.variables().into_iter().collect(), Naming::Any { layers: &[] })?;
//! assert_eq!(weight.sum(Kind::Float).double_value(&[]), 6.0);
//! # Ok::<(), inverse_flow::Error>(())
//! ```
//!
//! # Limits
//! A file may come from anybody. No size that a file states is trusted before it has been compared with the file's own
//! length, data are read only for a variable of the same size, and what describes them is bounded: a pickle may take 32 MiB
//! and 6 times its own size, and there are at most 131,072 tensors of at most 16 dimensions.

mod checksums;
mod compare;
mod dtype;
mod exported;
mod foreign;
mod format;
mod found;
mod legacy;
mod load;
mod modules;
mod names;
mod pickle;
mod published;
mod safetensors;
mod save;
mod sources;
mod state_dict;
mod state_file;
mod stored;
mod torch;
mod zip;
mod zip_write;

pub use dtype::Dtype;
pub use format::Format;
pub use load::{Naming, Report};
pub use save::{write_ot, write_safetensors};
pub use state_dict::write_state_dict;
pub use state_file::StateFile;
pub use stored::{Dictionary, Stored};

/// What is wrong with a file, before its path is put in front.
type Problem = String;

/// Attribute of our TorchScript programs that holds what the file beside them does, and is saved again with them.
pub const CONFIG_ATTRIBUTE: &str = "inverse_flow_config";

/// Most bytes of a description: the header of a safetensors file, as its own library has it, or the directory of an archive.
const MAX_DESCRIPTION: u64 = 100_000_000;
/// Most tensors in a file.
const MAX_TENSORS: usize = 1 << 17;
/// Most dictionaries of tensors in a file.
const MAX_DICTIONARIES: usize = 1 << 10;
/// Most dimensions of a tensor.
const MAX_RANK: usize = 16;
/// Most bytes of all names together.
const MAX_NAMES: usize = 16 << 20;
