//! Whether groups work on this machine, for `doctor`.

use crate::cuda::libtorch;
use crate::ffi::group::{Members, Store};
use crate::ffi::nccl;
use crate::Result;
use std::time::Duration;

/// Makes a group of one process, over Gloo.
///
/// # Errors
/// What torch says: most often that the machine's own name leads nowhere.
pub(crate) fn gloo() -> Result<()> {
    let time = Duration::from_secs(5);
    let store = Store::open("127.0.0.1", 0, true, "doctor", time)?;
    Members::join(&store, 0, 1, time)?.barrier()
}

/// What this build lacks for groups of GPUs.
pub(crate) fn nccl_missing() -> Option<&'static str> {
    nccl::missing()
}

/// Loads what groups of GPUs need, and says which NCCL that is, where libtorch's is one that tells.
///
/// # Errors
/// What is missing or cannot be loaded.
pub(crate) fn nccl() -> Result<Option<String>> {
    libtorch::load()?;
    nccl::join()?;
    Ok(nccl::version())
}
