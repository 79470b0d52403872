//! Which format a file has: its content says so, whatever its name.

use super::foreign;
use super::Problem;

/// A format that [`StateFile`](super::StateFile) reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// safetensors: ours, and any other.
    Safetensors,
    /// `torch.save` of a dictionary of tensors.
    StateDict,
    /// `torch.save` of something that holds state dictionaries.
    Checkpoint,
    /// `torch.jit.save` of a scripted or traced module.
    TorchScript,
    /// `torch.export.save` of an exported program.
    Exported,
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
            Self::Exported => "exported program of PyTorch",
            Self::Ot => "tch variable store",
        })
    }
}

/// What the first bytes of a file promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Safetensors,
    Zip,
    /// `torch.save` before PyTorch 1.6.
    Legacy,
    /// A pickle without storages.
    Pickle,
}

/// Bytes of the beginning that [`Container::of`] looks at.
pub(super) const HEAD: usize = 512;

/// The number that `torch.save` began files with before PyTorch 1.6, as a pickle writes it.
const LEGACY: [u8; 11] = [
    10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];
/// Opcodes and a frame that may be before that number.
const LEGACY_WITHIN: usize = 24;

impl Container {
    /// By the first [`HEAD`] bytes of a file, or all if it is shorter.
    pub(super) fn of(head: &[u8]) -> Result<Self, Problem> {
        let begins = |with: &[u8]| head.starts_with(with);
        if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
            return Ok(Self::Zip);
        }
        // a text that begins like this is JSON, and its first bytes are no length
        let is_text = head.iter().take(8).all(|byte| byte.is_ascii_graphic());
        if head.len() >= 10 && head[8] == b'{' && !is_text {
            return Ok(Self::Safetensors);
        }
        let start = &head[..head.len().min(LEGACY_WITHIN)];
        if begins(b"\x80") && start.windows(LEGACY.len()).any(|part| part == LEGACY) {
            return Ok(Self::Legacy);
        }
        if begins(b"\x80") && head.get(1).is_some_and(|version| (2..=5).contains(version)) {
            return Ok(Self::Pickle);
        }
        Err(foreign::name(head))
    }
}
