//! Work split over libtorch's own threads.

use super::memory::Float;
use super::sys;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Mutex;

/// From now on the calling thread does alone what libtorch would split over its threads: for a thread beside the one that
/// computes, which has a team of its own otherwise.
pub fn compute_alone() {
    // SAFETY: sets a number that belongs to the calling thread.
    unsafe { sys::ivf_threads_here(1) }
}

/// Calls `run(job)` for every `job` in `0..jobs`, split over libtorch's own threads (`tch::set_num_threads` holds).
/// Which thread runs a job is not fixed: jobs must not depend on one another.
///
/// # Panics
/// A panic of `run` is raised again on the calling thread.
pub fn parallel_for(jobs: usize, run: impl Fn(usize) + Sync) {
    struct Context<'a> {
        run: &'a (dyn Fn(usize) + Sync),
        panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    }
    unsafe extern "C" fn trampoline(context: *mut c_void, begin: i64, end: i64) {
        // SAFETY: `context` is the `Context` below, which outlives the parallel region.
        let context = unsafe { &*context.cast::<Context<'_>>() };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            (begin..end).for_each(|job| (context.run)(job as usize))
        }));
        if let Err(panic) = outcome {
            if let Ok(mut first) = context.panic.lock() {
                first.get_or_insert(panic);
            }
        }
    }
    let context = Context {
        run: &run,
        panic: Mutex::new(None),
    };
    // SAFETY: the call returns when every job is done, so the context is alive throughout; the callback does not unwind.
    unsafe {
        sys::ivf_parallel_for(
            jobs as i64,
            trampoline,
            (&raw const context).cast_mut().cast(),
        )
    };
    if let Some(panic) = context.panic.into_inner().unwrap_or_default() {
        std::panic::resume_unwind(panic);
    }
}

/// Splits `out` into chunks of `size` (the last one may be shorter) and calls `run(index, chunk)` for each, over
/// libtorch's own threads.
///
/// # Panics
/// `size` is zero while `out` is not empty, or `run` panics.
pub fn parallel_chunks<T: Float>(out: &mut [T], size: usize, run: impl Fn(usize, &mut [T]) + Sync) {
    if out.is_empty() {
        return;
    }
    let chunks = Chunks::new(out, size);
    parallel_for(chunks.count(), |index| {
        // SAFETY: every index is used once.
        run(index, unsafe { chunks.get(index) });
    });
}

/// As [`parallel_chunks`] for two outputs in step: `run(index, chunk of a, chunk of b)`.
///
/// # Panics
/// The outputs do not have equally many chunks, a size is zero, or `run` panics.
pub fn parallel_chunks2<T: Float, U: Float>(
    (a, a_size): (&mut [T], usize),
    (b, b_size): (&mut [U], usize),
    run: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let (a, b) = (Chunks::new(a, a_size), Chunks::new(b, b_size));
    assert_eq!(
        a.count(),
        b.count(),
        "outputs in step have equally many chunks"
    );
    parallel_for(a.count(), |index| {
        // SAFETY: every index is used once.
        unsafe { run(index, a.get(index), b.get(index)) };
    });
}

/// A slice in disjoint chunks that different threads may write to.
struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    size: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer is only used for disjoint chunks, and elements that are `Send` may go to other threads.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    fn new(slice: &'a mut [T], size: usize) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            size,
            slice: std::marker::PhantomData,
        }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.size)
    }

    /// # Safety
    /// `index` is below `count()`, and no other reference to the same chunk is alive.
    #[allow(clippy::mut_from_ref)] // the point: many threads, disjoint chunks of one borrowed slice
    unsafe fn get(&self, index: usize) -> &mut [T] {
        let begin = index * self.size;
        // SAFETY: the chunk lies inside the slice, which stays borrowed; the caller promises that it is used once.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(begin), self.size.min(self.len - begin))
        }
    }
}
