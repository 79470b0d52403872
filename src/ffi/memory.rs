//! CPU tensors as slices, work split over libtorch's own threads, and the allocator's thresholds.

use super::sys;
use crate::{Error, Result};
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Mutex;
use tch::{Device, Tensor};

/// Element types that the kernels compute in.
pub trait Element: tch::kind::Element + Copy + Send + Sync + 'static {}
impl Element for f32 {}
impl Element for f64 {}

/// Checks that `tensor` is plain memory of `T`: defined, on the CPU, contiguous.
fn check_plain<T: Element>(tensor: &Tensor) -> Result<usize> {
    if tensor.device() != Device::Cpu || tensor.kind() != T::KIND || !tensor.is_contiguous() {
        return Err(Error::Torch(format!(
            "expected a contiguous CPU tensor of {:?}, got {:?} on {:?} with strides {:?}",
            T::KIND,
            tensor.kind(),
            tensor.device(),
            tensor.stride()
        )));
    }
    Ok(tensor.numel())
}

/// The elements of a contiguous CPU tensor.
///
/// # Errors
/// The tensor is on another device, of another kind, or not contiguous.
pub fn slice<T: Element>(tensor: &Tensor) -> Result<&[T]> {
    let len = check_plain::<T>(tensor)?;
    if len == 0 {
        return Ok(&[]); // an empty tensor may have a null pointer
    }
    // SAFETY: checked above: `len` elements of `T` lie at `data_ptr`, which the borrowed tensor keeps alive. Like every
    // reader of a tensor this relies on nobody writing to its storage meanwhile; kernels read only during their call.
    Ok(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<T>(), len) })
}

/// The elements of a contiguous CPU tensor that the caller has just made, for writing.
///
/// # Errors
/// As [`slice()`].
pub fn slice_mut<T: Element>(tensor: &mut Tensor) -> Result<&mut [T]> {
    let len = check_plain::<T>(tensor)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as `slice`; the exclusive borrow of a tensor that shares its storage with no other (the callers pass fresh
    // results of `empty`) makes this the only access.
    Ok(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), len) })
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
pub fn parallel_chunks<T: Element>(
    out: &mut [T],
    size: usize,
    run: impl Fn(usize, &mut [T]) + Sync,
) {
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
pub fn parallel_chunks2<T: Element, U: Element>(
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

/// Largest number of bytes that tensors on CUDA device `index` held at once, by torch's allocator; with `reset` counting
/// starts again from what they hold now.
///
/// # Errors
/// libtorch's CUDA half is not loaded, or there is no such device.
pub fn cuda_peak_bytes(index: usize, reset: bool) -> Result<u64> {
    let device =
        i32::try_from(index).map_err(|_| Error::Cuda(format!("no device cuda:{index}")))?;
    let mut bytes = 0;
    super::status::checked(|error| {
        // SAFETY: the callee stores one number into `bytes`, which lives for the call.
        unsafe { sys::ivf_cuda_peak_bytes(device, reset.into(), &mut bytes, error) }
    })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

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
