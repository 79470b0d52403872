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

/// `f` of every item, in their order. If some fail, the error is that of the first of them.
///
/// # Errors
/// That of `f`.
#[cfg(feature = "pictures")]
pub(super) fn in_parallel<T: Sync, R: Send, E: Send>(
    items: &[T],
    f: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Mutex;
    let next = AtomicUsize::new(0);
    let first_error: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else {
                return done;
            };
            match f(item) {
                Ok(result) => done.push((i, result)),
                Err(err) => {
                    // all that come before `i` have been taken up, so the first error of all is among those noted
                    next.store(items.len(), Ordering::Relaxed);
                    let mut first = first_error.lock().unwrap_or_else(|held| held.into_inner());
                    if first.as_ref().is_none_or(|(at, _)| i < *at) {
                        *first = Some((i, err));
                    }
                    return done;
                }
            }
        }
    };
    let done = together(cores().min(items.len()), work);
    let mut results: Vec<(usize, R)> = done.into_iter().flatten().collect();
    let first = first_error
        .into_inner()
        .unwrap_or_else(|held| held.into_inner());
    if let Some((_, err)) = first {
        return Err(err);
    }
    results.sort_unstable_by_key(|(i, _)| *i);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(all(test, feature = "pictures"))]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_error_wins() {
        let items: Vec<usize> = (0..1000).collect();
        let double = in_parallel(&items, |i| Ok::<_, usize>(2 * i)).unwrap();
        assert_eq!(double, items.iter().map(|i| 2 * i).collect::<Vec<_>>());
        for _ in 0..20 {
            let err = in_parallel(&items, |&i| if i % 7 == 3 { Err(i) } else { Ok(()) });
            assert_eq!(err.unwrap_err(), 3);
        }
        assert!(in_parallel(&[], |_: &u8| Ok::<_, ()>(()))
            .unwrap()
            .is_empty());
    }
}
