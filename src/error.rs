//! The one error type of the crate: every variant says what is wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// Result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. Messages are one or two lines, without a backtrace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument has the wrong rank, size, dtype, device or value.
    #[error("{op}: `{arg}` {problem}")]
    Argument {
        /// Operator or function, as the user calls it.
        op: &'static str,
        /// Name of the argument.
        arg: &'static str,
        /// What was expected and what was got.
        problem: String,
    },
    /// A data-dependent layer was used before its first batch.
    #[error(
        "{layer} is not initialised: call `initialize` with a first batch, or load a checkpoint"
    )]
    NotInitialized {
        /// The layer's kind.
        layer: &'static str,
    },
    /// A configuration that no model, data set or run can be built from.
    #[error("{0}")]
    Config(String),
    /// A file that is missing, unreadable or not what it should be.
    #[error("{}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// Training cannot go on.
    #[error("training stopped: {0}")]
    Diverged(String),
    /// An iterative inverse that did not reach its tolerance.
    #[error("{layer}: {problem}")]
    NotConverged {
        /// The layer's kind.
        layer: &'static str,
        /// How far it got and what to change.
        problem: String,
    },
    /// A map without an inverse, or too near to one.
    #[error("{}{problem}", at(.place))]
    Singular {
        /// The dotted name of the layer in its model; empty if it stands alone.
        place: String,
        /// Which map, and the number that shows it.
        problem: String,
    },
    /// A layer or a net that has no TorchScript, in a model that was to be saved as a program.
    #[error(
        "{}{kind} has no TorchScript: implement `torchscript` for it, or save the model as safetensors",
        at(.place)
    )]
    NoTorchScript {
        /// The layer's kind, or the type of the net.
        kind: String,
        /// Its dotted name in the model; empty if it stands alone.
        place: String,
    },
    /// Processes that compute together have lost one of them, or did not find each other.
    #[error("rank {rank} of {ranks}: {problem}")]
    Group {
        /// The rank that this process has.
        rank: u32,
        /// How many ranks there are.
        ranks: u32,
        /// Which rank it is about, the cause, and what to do.
        problem: String,
    },
    /// The system does not allow what is needed.
    #[error("{0}")]
    System(String),
    /// There is no memory for something.
    #[error("out of memory: {0}")]
    Memory(String),
    /// An error that libtorch reported.
    #[error("libtorch: {0}")]
    Torch(String),
    /// The CUDA driver, a kernel module or a launch failed.
    #[error("CUDA: {0}")]
    Cuda(String),
}

impl Error {
    /// An [`Error::Argument`].
    pub fn argument(op: &'static str, arg: &'static str, problem: impl Into<String>) -> Self {
        Self::Argument {
            op,
            arg,
            problem: problem.into(),
        }
    }

    /// An [`Error::Config`].
    pub fn config(problem: impl Into<String>) -> Self {
        Self::Config(problem.into())
    }

    /// An [`Error::NoTorchScript`] of something that does not know where it stands.
    pub fn no_torchscript(kind: impl Into<String>) -> Self {
        Self::NoTorchScript {
            kind: kind.into(),
            place: String::new(),
        }
    }

    /// An [`Error::Singular`] of the inverse of a convolution, the same on every device.
    pub(crate) fn zero_on_the_diagonal(channel: i64) -> Self {
        Self::Singular {
            place: String::new(),
            problem: format!(
                "inv_conv2d: `weight` has a zero on the diagonal of the anchor tap at channel {channel}: the convolution has \
                 no inverse"
            ),
        }
    }

    /// The same error with `name` before the place of what has no TorchScript or no inverse; other errors as they are.
    #[must_use]
    pub fn below(mut self, name: &str) -> Self {
        if let Self::NoTorchScript { place, .. } | Self::Singular { place, .. } = &mut self {
            *place = match place.as_str() {
                "" => name.to_owned(),
                place => format!("{name}.{place}"),
            };
        }
        self
    }

    /// An [`Error::File`].
    pub fn file(path: impl AsRef<Path>, problem: impl ToString) -> Self {
        Self::File {
            path: path.as_ref().to_path_buf(),
            problem: problem.to_string(),
        }
    }
}

/// `place: ` for the head of a message, nothing for nowhere.
fn at(place: &str) -> String {
    match place {
        "" => String::new(),
        place => format!("`{place}`: "),
    }
}

impl From<tch::TchError> for Error {
    fn from(err: tch::TchError) -> Self {
        let text = match err {
            tch::TchError::Torch(text) => text,
            other => other.to_string(),
        };
        of_torch(&text)
    }
}

/// What helps where a GPU has no memory left.
pub(crate) const MORE_ON_GPU: &str = "use a smaller batch (train: --batch-size, --accumulate, --rebuild-activations), or a GPU that nobody else computes on";

/// What libtorch reports: [`Error::Memory`] if that is what it is about, [`Error::Cuda`] if it is that of a GPU.
pub(crate) fn of_torch(text: &str) -> Error {
    let text = without_backtrace(text);
    if text.contains("CUDA out of memory") {
        let text = text.replace('\n', " ");
        return Error::Cuda(format!("{text}; {MORE_ON_GPU}"));
    }
    match memory(text) {
        Some(what) => Error::Memory(what),
        None => Error::Torch(text.to_owned()),
    }
}

/// What there is no memory for, if that is what a text of libtorch is about.
fn memory(text: &str) -> Option<String> {
    let asked = |start: &str| {
        let (_, rest) = text.split_once(start)?;
        let bytes = rest.split(' ').next()?;
        bytes.parse::<u64>().ok()
    };
    if text.contains("DefaultCPUAllocator: ") {
        let asked = asked("you tried to allocate ");
        return Some(asked.map_or("no room for a tensor".into(), |bytes| {
            format!(
                "no room for a tensor of {}",
                crate::words::counted(bytes, "byte")
            )
        }));
    }
    let signs = ["bad_alloc", "Cannot allocate memory"];
    if signs.iter().any(|sign| text.contains(sign)) {
        return Some(format!("libtorch: {}", text.replace('\n', " ")));
    }
    if let Some((_, sizes)) = text.split_once("Storage size calculation overflowed with ") {
        return Some(format!("no tensor can be so large: {sizes}"));
    }
    if text == "capacity overflow" {
        return Some("more is asked for than any memory has".into());
    }
    // oneDNN says no more
    let alike = ["could not create a primitive", "could not create a memory"];
    let alike = alike.iter().any(|sign| text.contains(sign));
    alike.then(|| format!("libtorch: {text}, as it says where memory is short"))
}

/// The part of a c10 error message before its C++ stack trace.
pub(crate) fn without_backtrace(text: &str) -> &str {
    text.split("\nException raised from")
        .next()
        .unwrap_or(text)
        .trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_place() {
        let err = Error::no_torchscript("swirl");
        assert!(err.to_string().starts_with("swirl has no TorchScript: "));
        let err = err.below("net").below("levels.0.coupling").to_string();
        let start = "`levels.0.coupling.net`: swirl has no TorchScript: ";
        assert!(err.starts_with(start), "{err}");
    }

    #[test]
    fn memory_that_is_not_there_is_an_error_of_its_own() {
        let huge = tch::Tensor::f_zeros([1 << 52], (tch::Kind::Float, tch::Device::Cpu));
        let err = Error::from(huge.unwrap_err()).to_string();
        let expected = "out of memory: no room for a tensor of 18014398509481984 bytes";
        assert_eq!(err, expected);
        for (text, is_memory) in [
            ("std::bad_alloc", true),
            ("could not create a primitive", true),
            ("shape '[5]' is invalid for input of size 6", false),
        ] {
            let err = of_torch(text);
            assert_eq!(matches!(err, Error::Memory(_)), is_memory, "{err}");
        }
        let of_gpu = of_torch("CUDA out of memory. Tried to allocate 2 MiB.").to_string();
        assert!(of_gpu.contains("2 MiB.; use a smaller batch"), "{of_gpu}");
    }

    #[test]
    fn torch_errors_lose_their_cpp_backtrace() {
        let x = tch::Tensor::zeros([2, 3], (tch::Kind::Float, tch::Device::Cpu));
        let err = Error::from(x.f_view([5]).unwrap_err()).to_string();
        assert!(err.contains("shape '[5]' is invalid"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
