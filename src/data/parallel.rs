//! Work on as many threads as there are cores, or as the system allows.

use std::thread;

/// Runs `work` on this thread and, at the same time, on up to `threads - 1` others: on fewer where the system refuses to start
/// one. Each takes its parts of the work from a place that all of them share. What they give back comes in no order.
pub(crate) fn together<R: Send>(threads: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut done = vec![work()];
        done.extend(others.into_iter().map(|other| match other.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        done
    })
}

/// The threads that are worth it.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
