//! How long the threads of libtorch's teams keep their processor while they wait for work.

use super::sys;
use std::io;
use std::sync::mpsc::{channel, Sender};
use std::thread::{Builder, JoinHandle};

/// Processors that this process may run on.
pub fn processors() -> usize {
    // SAFETY: a question.
    usize::try_from(unsafe { sys::ivf_processors() }).map_or(1, |count| count.max(1))
}

/// As long as this is there, threads of libtorch that wait for work sleep after about a microsecond.
///
/// libtorch's threads are those of libgomp. One that waits turns in a loop some milliseconds long, and then sleeps: the next
/// work finds it awake, but until then whoever else wants its processor does not get it, and when the system takes the processor
/// away, that is often from a thread with work. libgomp reads how long once, at the start of the process
/// (`GOMP_SPINCOUNT`, `OMP_WAIT_POLICY`). But while it has more threads than there are processors, it turns 100 times only,
/// whatever was set but "active". So this makes it have more: one idle team beside the one that computes.
///
/// Another OpenMP runtime than libgomp is none the worse for it.
#[derive(Debug)]
pub struct BriefSpin {
    /// None while it is being dropped.
    stay: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BriefSpin {
    /// Beside a team of `team` threads.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn beside(team: usize) -> io::Result<Self> {
        let (stay, left) = channel::<()>();
        let (ready, begun) = channel::<()>();
        let idle = move || {
            // its first thread is not counted
            let more = processors().saturating_sub(team) + 2;
            // SAFETY: the region touches nothing.
            unsafe { sys::ivf_empty_region(i32::try_from(more).unwrap_or(2)) };
            drop(ready);
            // until the other side is dropped: libgomp ends a team with the thread that it belongs to
            let _ = left.recv();
        };
        let thread = Builder::new().name("idle".into()).spawn(idle)?;
        let _ = begun.recv();
        Ok(Self {
            stay: Some(stay),
            thread: Some(thread),
        })
    }
}

impl Drop for BriefSpin {
    fn drop(&mut self) {
        drop(self.stay.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::threads::parallel_for;
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    /// How often the other thread of this thread's team has gone to sleep.
    fn sleeps_of_the_other(own: &str) -> u64 {
        let seen = Mutex::new(0);
        parallel_for(2, |_| {
            let name = std::fs::read_link("/proc/thread-self").unwrap();
            let name = name.to_str().unwrap().to_owned();
            if name != own {
                let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                *seen.lock().unwrap() = line.unwrap().trim().parse().unwrap();
            }
        });
        seen.into_inner().unwrap()
    }

    /// Sleeps in gaps of 200 microseconds: far longer than 100 turns, far shorter than 300,000.
    fn sleeps_in_100_gaps() -> u64 {
        let own = std::fs::read_link("/proc/thread-self").unwrap();
        let own = own.to_str().unwrap();
        let before = sleeps_of_the_other(own);
        for _ in 0..100 {
            parallel_for(2, |_| {});
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(200) {
                std::hint::spin_loop();
            }
        }
        sleeps_of_the_other(own) - before
    }

    #[test]
    fn a_thread_that_waits_sleeps_at_once_while_it_is_there() {
        let brief = BriefSpin::beside(2).unwrap();
        let slept = std::thread::spawn(|| {
            // SAFETY: sets a number that belongs to this thread.
            unsafe { sys::ivf_threads_here(2) };
            sleeps_in_100_gaps()
        });
        let slept = slept.join().unwrap();
        assert!(slept >= 50, "{slept}");
        drop(brief);
    }
}
