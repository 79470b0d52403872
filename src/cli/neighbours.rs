//! Whether other programs want the processors too, and what to do then.

use crate::ffi::spin::BriefSpin;
use std::sync::Once;
use std::time::{Duration, Instant};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// Share of the time in which a thread of ours could run and did not get a processor, from which on others are at work.
const CROWDED: f64 = 0.1;
/// Below this they are not.
const ALONE: f64 = 0.02;
/// Looks in a row that say they have gone.
const LOOKS: u32 = 30;

/// Watches from a thread of its own, as long as the program runs, whether its threads wait for processors. While they do, those
/// that wait for work do not keep theirs ([`BriefSpin`]): beside other programs that makes a step up to three times shorter, and
/// alone it could cost a tenth, which is why it is not so always. `OMP_WAIT_POLICY` and `GOMP_SPINCOUNT`, which set how threads
/// wait, are left to have their way.
pub fn watch() {
    let set = |name| std::env::var_os(name).is_some();
    if set("OMP_WAIT_POLICY") || set("GOMP_SPINCOUNT") {
        return;
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(begin);
}

fn begin() {
    let thread = std::thread::Builder::new().name("neighbours".into());
    // a system without room for a thread has other troubles; nothing depends on this one
    let _ = thread.spawn(|| {
        let mut crowd = Crowd::default();
        let mut brief = None;
        let (mut at, Some(mut waited)) = (Instant::now(), waited()) else {
            return;
        };
        loop {
            std::thread::sleep(EVERY);
            let (now, Some(so_far)) = (Instant::now(), self::waited()) else {
                return;
            };
            let share = so_far.saturating_sub(waited) as f64 / (now - at).as_nanos() as f64;
            (at, waited) = (now, so_far);
            match (crowd.look(share), brief.is_some()) {
                // a single thread waits for nobody
                (true, false) if tch::get_num_threads() > 1 => {
                    brief = BriefSpin::beside(tch::get_num_threads() as usize).ok();
                }
                (false, true) => brief = None,
                _ => {}
            }
        }
    });
}

/// Nanoseconds in which threads of this process could run and had no processor, all together; `None` where the system does not
/// count them.
fn waited() -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let mut sum = None;
    for task in tasks.flatten() {
        // a thread may have ended since
        let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else {
            continue;
        };
        let waited = text.split_whitespace().nth(1)?.parse::<u64>().ok()?;
        sum = Some(sum.unwrap_or(0) + waited);
    }
    sum
}

/// Whether others are at work, by what was seen so far.
#[derive(Debug, Default)]
struct Crowd {
    is_there: bool,
    quiet: u32,
}

impl Crowd {
    /// After another look, which has found this share of waiting.
    fn look(&mut self, share: f64) -> bool {
        self.quiet = if share < ALONE { self.quiet + 1 } else { 0 };
        self.is_there = match self.is_there {
            false => share > CROWDED,
            true => self.quiet < LOOKS,
        };
        self.is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::spin::processors;

    #[test]
    fn others_are_noticed_at_once_and_forgotten_after_a_while() {
        let mut crowd = Crowd::default();
        assert!(!crowd.look(0.0) && !crowd.look(0.05));
        assert!(crowd.look(0.2));
        for _ in 0..LOOKS - 1 {
            assert!(crowd.look(0.0));
        }
        // somebody is back in the last moment
        assert!(crowd.look(0.03));
        for _ in 0..LOOKS - 1 {
            assert!(crowd.look(0.01));
        }
        assert!(!crowd.look(0.01));
        assert!(!crowd.look(0.05));
    }

    #[test]
    fn a_thread_that_is_kept_waiting_is_counted() {
        let Some(before) = waited() else { return };
        let done = std::sync::atomic::AtomicBool::new(false);
        let after = std::thread::scope(|scope| {
            for _ in 0..processors() + 1 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(60));
            let after = waited();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            after
        });
        // a thread too many for 60 ms
        assert!(after.unwrap() > before + 10_000_000);
    }
}
