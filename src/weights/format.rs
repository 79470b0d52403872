//! Which format a file has: its content says so, whatever its name.

use super::Problem;

/// A format that [`StateFile`](super::StateFile) reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// safetensors: ours, and any other.
    Safetensors,
    /// `torch.save` of a dictionary of tensors.
    StateDict,
    /// `torch.save` of a dictionary that holds a state dictionary.
    Checkpoint,
    /// `torch.jit.save` of a scripted or traced module.
    TorchScript,
    /// tch's `VarStore::save`.
    Ot,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::StateDict => "PyTorch state dictionary",
            Self::Checkpoint => "PyTorch training checkpoint",
            Self::TorchScript => "TorchScript archive",
            Self::Ot => "tch variable store",
        })
    }
}

/// What the first bytes of a file promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Safetensors,
    Zip,
}

/// Bytes of the beginning that [`Container::of`] looks at.
pub(super) const HEAD: usize = 512;

/// Opcodes `PROTO 2, LONG1` and the number that `torch.save` began files with before PyTorch 1.6.
const LEGACY: [u8; 14] = [
    0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];

impl Container {
    /// By the first [`HEAD`] bytes of a file, or all if it is shorter.
    pub(super) fn of(head: &[u8]) -> Result<Self, Problem> {
        const RESAVE: &str =
            "load it in PyTorch and save it again: torch.save(model.state_dict(), FILE)";
        if head.is_empty() {
            return Err("is empty".into());
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Ok(Self::Zip);
        }
        if head.len() >= 10 && head[8] == b'{' {
            return Ok(Self::Safetensors);
        }
        if head.starts_with(&LEGACY) || head.get(257..262) == Some(b"ustar") {
            return Err(format!(
                "is of PyTorch's format before version 1.6, which is not read: {RESAVE}"
            ));
        }
        if head[0] == 0x80 {
            return Err(format!(
                "is a bare pickle, which is a program and not a table of tensors: {RESAVE}"
            ));
        }
        Err(
            "is neither safetensors nor an archive of PyTorch or tch, or its beginning is damaged: use another copy"
                .into(),
        )
    }
}
