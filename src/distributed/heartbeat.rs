//! Signs of life: how a group notices a process that hangs.
//!
//! A process that is gone closes its connections, which the others notice at once. One that stands still does not: its
//! machine, its network, or a stop by the system. So each process counts up a number at the store every [`INTERVAL`], and
//! looks at that of the next rank, which makes two calls a process however many there are. Looks are counted, not
//! seconds: a machine that slept, with all processes on it, goes on.

use super::meeting::{client, until};
use super::Place;
use crate::ffi::group::Store;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(2);
/// Looks in a row without anything new after which a process counts as lost.
const MOST_SILENT: u32 = 6;

type OnLoss = Box<dyn FnOnce(Error, bool) + Send>;

/// Gives signs of life and looks for those of the next rank, until it is dropped.
#[derive(Debug)]
pub struct Heartbeat(Arc<AtomicBool>);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What the two threads share.
struct Watch {
    place: Place,
    ended: Arc<AtomicBool>,
    /// Calls of the store that were answered.
    answers: AtomicU64,
    on_loss: Mutex<Option<OnLoss>>,
}

impl Heartbeat {
    /// Begins, once the group has met. If the next rank or the store is lost, `on_loss` is called once, on another thread:
    /// with the error, and whether this process is the one to tell the user. The thread that waits for the lost process in a
    /// call of the group cannot be woken, so what is left to do is to end the process.
    ///
    /// # Errors
    /// [`Error::Group`]: the store does not answer within `timeout`.
    pub fn start(
        place: &Place,
        timeout: Duration,
        on_loss: impl FnOnce(Error, bool) + Send + 'static,
    ) -> Result<Self> {
        // of its own: a call that waits for a key holds the connection
        let store = client(place, timeout)
            .map_err(|err| place.problem(format!("{} does not answer: {err}", place.keeper())))?;
        let ended = Arc::new(AtomicBool::new(false));
        let watch = Arc::new(Watch {
            place: place.clone(),
            ended: Arc::clone(&ended),
            answers: AtomicU64::new(0),
            on_loss: Mutex::new(Some(Box::new(on_loss))),
        });
        let beating = Arc::clone(&watch);
        let no_thread = |err| place.problem(format!("no thread can be started: {err}"));
        thread::Builder::new()
            .spawn(move || beating.beat(&store))
            .map_err(no_thread)?;
        thread::Builder::new()
            .spawn(move || watch.look_at_the_store())
            .map_err(no_thread)?;
        Ok(Self(ended))
    }
}

/// Counts looks that show nothing new.
#[derive(Default)]
struct Looks<T> {
    last: Option<T>,
    silent: u32,
}

impl<T: PartialEq> Looks<T> {
    /// Whether this look was one too many.
    fn is_lost(&mut self, seen: T) -> bool {
        let new = self.last.as_ref() != Some(&seen);
        self.silent = if new { 0 } else { self.silent + 1 };
        self.last = Some(seen);
        self.silent >= MOST_SILENT
    }
}

impl Watch {
    fn beat(&self, store: &Store) {
        let next = (self.place.rank + 1) % self.place.ranks;
        let (own, others) = (format!("beat/{}", self.place.rank), format!("beat/{next}"));
        let mut looks = Looks::default();
        // it is there from now on, and nobody has to wait for it
        let _ = store.count(&others);
        while self.goes_on() {
            // an error counts as no answer
            let seen = store
                .count(&own)
                .and_then(|_| store.get(&others, until(Instant::now())));
            if let Ok(seen) = seen {
                self.answers.fetch_add(1, Ordering::SeqCst);
                if looks.is_lost(seen) {
                    return self.lost_rank(store, next);
                }
            }
            thread::sleep(INTERVAL);
        }
    }

    /// The store may not answer at all: the thread that asks it waits for ever then.
    fn look_at_the_store(&self) {
        let mut looks = Looks::default();
        while self.goes_on() {
            if looks.is_lost(self.answers.load(Ordering::SeqCst)) {
                let keeper = self.place.keeper();
                return self.lost(format!("{keeper} does not answer any more"), true);
            }
            thread::sleep(INTERVAL);
        }
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::SeqCst)
    }

    fn lost_rank(&self, store: &Store, rank: u32) {
        let word = format!("word/{rank}");
        let known = store.get(&word, until(Instant::now())).ok().flatten();
        let cause = match known.filter(|cause| !cause.is_empty()) {
            Some(cause) => cause,
            None => {
                let seconds = (INTERVAL * MOST_SILENT).as_secs();
                let cause = format!(
                    "it gives no sign of life since {seconds} s: it hangs, or its machine or network does"
                );
                // for the others, whose connections to this process break now
                let _ = store.set(&word, &cause);
                cause
            }
        };
        let tells = store.count("speaker").map_or(true, |count| count == 1);
        self.lost(format!("rank {rank} failed: {cause}"), tells);
    }

    fn lost(&self, problem: String, tells_the_user: bool) {
        let on_loss = self
            .on_loss
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(on_loss), true) = (on_loss, self.goes_on()) {
            on_loss(self.place.problem(problem), tells_the_user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_looks_in_a_row_without_news_count() {
        let mut looks = Looks::default();
        for round in 0..3 {
            assert!(!looks.is_lost(round));
            for _ in 1..MOST_SILENT {
                assert!(!looks.is_lost(round));
            }
        }
        assert!(looks.is_lost(2));
    }
}
