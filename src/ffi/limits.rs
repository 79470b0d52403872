//! What the system allows the process: its stack, its threads, the sizes of its files.

use super::threads::parallel_for;
use crate::words::counted;
use crate::{Error, Result};
use std::sync::Mutex;
use std::thread::Builder;

/// What libtorch's code is written for.
const STACK: usize = 8 << 20;

/// Runs `work` on a stack of at least 8 MiB, and lets new threads of the libraries have one. With `ulimit -s` below it, they
/// would end with a segmentation fault.
///
/// # Errors
/// There is no memory for it.
#[cfg(feature = "program")]
pub fn on_a_stack_of_its_size<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: stores into `limit`, which lives for the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) } == 0;
    if !known || limit.rlim_cur >= STACK as u64 {
        return Ok(work());
    }
    // SAFETY: changes a number that holds for threads that are started later.
    unsafe { super::sys::ivf_set_stack_of_threads(STACK) };
    std::thread::scope(|scope| {
        let thread = Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|err| {
            let size = STACK >> 20;
            Error::System(format!(
                "no stack of {size} MiB, which libtorch needs: {err}; raise ulimit -s or ulimit -v"
            ))
        })?;
        match thread.join() {
            Ok(done) => Ok(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Lets libtorch use so many threads, or as many as it wants to, and starts them. Later, or without looking whether they can be
/// started, it would hang or end the process where one cannot.
///
/// # Errors
/// The system does not allow so many.
pub fn use_threads(count: Option<i32>) -> Result<()> {
    let current = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
    let wanted = count.map_or(Some(current), |count| usize::try_from(count).ok());
    let wanted = wanted.unwrap_or(1).max(1);
    let is_new = wanted != current;
    // OpenMP's threads besides this one, and those of a pool that a new number makes
    let needed = wanted - 1 + if is_new { wanted } else { 0 };
    if let Err((started, err)) = can_start(needed) {
        return Err(Error::System(format!(
            "{} cannot be started, the system allows {started} of the {needed} that it takes: {err}; use a \
             smaller --threads, or raise the limits (ulimit -u, ulimit -v)",
            counted(wanted, "thread")
        )));
    }
    if is_new {
        tch::set_num_threads(i32::try_from(wanted).unwrap_or(i32::MAX));
    }
    parallel_for(wanted, |_| ());
    Ok(())
}

/// Whether so many threads can be alive beside this one; how many can, if not.
fn can_start(count: usize) -> std::result::Result<(), (usize, std::io::Error)> {
    let hold = Mutex::new(());
    std::thread::scope(|scope| {
        let held = hold.lock();
        // none ends before the last one has been tried
        for started in 0..count {
            let wait = || drop(hold.lock());
            let thread = Builder::new().stack_size(STACK).spawn_scoped(scope, wait);
            thread.map_err(|err| (started, err))?;
        }
        drop(held);
        Ok(())
    })
}
