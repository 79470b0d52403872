//! The thresholds of the C library's allocator.

/// Tells glibc's allocator to keep freed memory instead of returning it to the system.
///
/// libtorch allocates and frees activations of tens of megabytes at every operation; with the default thresholds
/// glibc maps and unmaps each of them, and the page faults cost as much time as the arithmetic. Call it once, before
/// the first tensor. Memory stays with the process until it ends, at its peak. Does nothing on other C libraries.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets numbers inside the allocator and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
