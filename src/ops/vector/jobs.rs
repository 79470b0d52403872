//! Jobs over libtorch's threads, each taken by whoever is free.

use crate::ffi::threads::parallel_for;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

/// Runs `run(scratch, job)` for every job. Each worker makes its scratch once; jobs are taken in their order, so a job
/// may wait for an earlier one.
///
/// # Panics
/// A panic of `run` is raised again on the calling thread.
pub fn run_jobs<J: Send, X>(
    jobs: Vec<J>,
    scratch: impl Fn() -> X + Sync,
    run: impl Fn(&mut X, J) + Sync,
) {
    let workers = jobs.len().min(threads());
    let slots: Vec<_> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
    let next = AtomicUsize::new(0);
    parallel_for(workers, |_| {
        let mut mine = scratch();
        while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
            let job = slot.lock().ok().and_then(|mut slot| slot.take());
            if let Some(job) = job {
                run(&mut mine, job);
            }
        }
    });
}

/// Threads that jobs may run on.
pub fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}
