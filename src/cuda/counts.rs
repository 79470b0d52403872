//! What the host asks of a GPU, where the driver counts it.

use libloading::os::unix::Library;

/// Totals of this process.
///
/// A real driver does not say them. The one that emulates a GPU for the tests (`scripts/emulated_gpu.sh`) does, and on it they
/// stand where times would: the same program asks a card for the same work.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Kernels, operators of libtorch and memsets that start work on a device.
    pub launches: u64,
    /// Times that the host was blocked until the device had come so far.
    pub waits: u64,
    /// Copies from the host to a device.
    pub uploads: u64,
    /// Copies from a device to the host.
    pub downloads: u64,
}

impl Counts {
    /// The totals so far; `None` where the driver does not count.
    pub fn now() -> Option<Self> {
        // SAFETY: the function of tests/emulated_gpu/protocol.h, which no other library has, with its signature; it stays
        // loaded as long as the driver does, which is never unloaded.
        let count = unsafe {
            Library::this().get::<unsafe extern "C" fn(*mut Self)>(b"emulated_gpu_counts\0")
        };
        let mut counts = Self::default();
        // SAFETY: the twin of `EmulatedGpuCounts`, valid for writing.
        unsafe { count.ok()?(&mut counts) };
        Some(counts)
    }

    /// What `work` has added.
    ///
    /// # Errors
    /// What `work` reports.
    pub fn of<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Option<Self>, E> {
        let before = Self::now();
        work()?;
        Ok(before.zip(Self::now()).map(|(before, after)| Self {
            launches: after.launches - before.launches,
            waits: after.waits - before.waits,
            uploads: after.uploads - before.uploads,
            downloads: after.downloads - before.downloads,
        }))
    }
}
