//! What reading a file takes, counted: pieces of memory, bytes from the disk, the peak of the memory. Counts are of the
//! whole process, so the process must do nothing else.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static PIECES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, which counts the pieces that are asked of it.
struct Counting;

// SAFETY: every call goes on to the system's allocator as it came; the counter is no memory of anyone's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PIECES.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        PIECES.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, and `pointer` came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Pieces of memory that Rust code asked for or had resized: objects built.
    pub pieces: u64,
    /// Bytes read from files.
    pub read: u64,
    /// Memory beyond that of the beginning, at its peak, bytes.
    pub memory: u64,
}

impl Taken {
    /// What `work` takes, and what it returns.
    pub fn by<T>(work: impl FnOnce() -> T) -> (Self, T) {
        let peak = reset_peak();
        let (pieces, read) = (PIECES.load(Relaxed), entry("/proc/self/io", "rchar"));
        let result = work();
        let taken = Self {
            pieces: PIECES.load(Relaxed) - pieces,
            read: entry("/proc/self/io", "rchar") - read,
            memory: peak_memory().saturating_sub(peak),
        };
        (taken, result)
    }

    /// The larger of each.
    pub fn max(&self, other: &Self) -> Self {
        Self {
            pieces: self.pieces.max(other.pieces),
            read: self.read.max(other.read),
            memory: self.memory.max(other.memory),
        }
    }
}

/// Makes the memory of now the peak so far, and returns it, bytes.
fn reset_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak of this process can be reset");
    peak_memory()
}

fn peak_memory() -> u64 {
    entry("/proc/self/status", "VmHWM") << 10
}

/// The number after `key` in a file of the kernel about this process.
fn entry(path: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
