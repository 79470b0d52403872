//! The end of a process that finds no more memory, or that a library ends: one line on standard error that says so, and the
//! exit status of any failure, in place of an abort with a core dump.
//!
//! libtorch reports most allocations that fail as errors, which take the usual way. The rest comes here: those of Rust, of
//! C++ code that lets no exception out, and of OpenMP, which calls `exit` in whatever thread it is.

use super::exit::exit_at_once;
use super::sys;
use crate::phase;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_char, CStr};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

/// What to do about it; a few words, in which nothing has to be allocated any more.
static ADVICE: OnceLock<&'static str> = OnceLock::new();
/// Whether somebody of this crate still has something to do, so that nobody else may end the process in silence.
static AT_WORK: AtomicBool = AtomicBool::new(false);
/// The exit status of any failure.
const FAILED: i32 = 1;

/// The system's allocator, for programs that can do nothing but end when it fails: they say so.
#[derive(Debug)]
pub struct OrEnd;

// SAFETY: every call is passed on to the system's allocator as it is, and its answer is given back unless it is null, after
// which nothing runs any more.
unsafe impl GlobalAlloc for OrEnd {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that System asks for.
        found(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        found(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        found(unsafe { System.realloc(old, layout, size) }, size)
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(old, layout) }
    }
}

fn found(memory: *mut u8, size: usize) -> *mut u8 {
    if memory.is_null() {
        say_and_end(format_args!("{}", OutOfMemory(&bytes(size))));
    }
    memory
}

struct Bytes(usize);

/// A size for [`OutOfMemory`].
fn bytes(size: usize) -> impl fmt::Display {
    Bytes(size)
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an allocation has failed (bytes: {})", self.0)
    }
}

/// `out of memory in a training step: WHAT; what to do`.
pub struct OutOfMemory<'a, T>(pub &'a T);

impl<T: fmt::Display> fmt::Display for OutOfMemory<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = ADVICE.get().copied().unwrap_or(MORE);
        write!(
            f,
            "out of memory{}: {}; {advice}",
            phase::now().text(),
            self.0
        )
    }
}

/// What helps everywhere.
const MORE: &str = "give it more (ulimit -v, or the limit of the container)";

/// What helps, besides more memory, from now on.
pub fn advise(advice: &'static str) {
    let _ = ADVICE.set(advice);
}

/// Sees to it that what ends the process from outside of this crate leaves a line, from now on.
pub fn watch() {
    AT_WORK.store(true, Ordering::SeqCst);
    // SAFETY: both functions live as long as the process, and neither unwinds nor returns where it must not.
    unsafe {
        sys::ivf_on_terminate(terminated);
        libc::atexit(left);
    }
}

/// The process ends as it should.
pub fn done() {
    AT_WORK.store(false, Ordering::SeqCst);
}

/// An exception that nothing catches, such as one in a thread of libtorch.
unsafe extern "C" fn terminated(what: *const c_char, memory: i32) {
    let what = match what.is_null() {
        true => c"an unknown exception",
        // SAFETY: the bridge passes a text that ends with a zero and outlives the call, or null.
        false => unsafe { CStr::from_ptr(what) },
    };
    let what = what.to_str().unwrap_or("an exception");
    match memory {
        0 => say_and_end(format_args!(
            "libtorch: {}",
            crate::error::without_backtrace(what)
        )),
        _ => say_and_end(format_args!("{}", OutOfMemory(&what))),
    }
}

/// Somebody has called `exit` while we are at work, which OpenMP does after a line of its own.
extern "C" fn left() {
    if AT_WORK.load(Ordering::SeqCst) {
        say_and_end(format_args!(
            "a library has ended the process{}: it finds no memory or no thread; fewer --threads, or higher limits (ulimit -v, \
             ulimit -u)",
            phase::now().text()
        ));
    }
}

/// Text on the stack.
struct Line {
    text: [u8; 1024],
    used: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.text[self.used..];
        let most = text.len().min(free.len());
        free[..most].copy_from_slice(&text.as_bytes()[..most]);
        self.used += most;
        Ok(())
    }
}

fn say_and_end(what: fmt::Arguments<'_>) -> ! {
    let mut line = Line {
        text: [0; 1024],
        used: 0,
    };
    let _ = writeln!(line, "error: {what}");
    // SAFETY: the bytes are there; what could not be written cannot be said elsewhere either.
    let _ = unsafe { libc::write(2, line.text.as_ptr().cast(), line.used) };
    exit_at_once(FAILED)
}
