//! Ctrl-C, SIGTERM and SIGHUP as a request to save and stop.

use crate::distributed::Place;
use crate::ffi::exit::exit_at_once;
use crate::train::stop;
use crate::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::Arc;

/// The first one; 0 before it.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// What the shells take for the exit status of a process that a signal ended.
const BASE: i32 = 128;

/// From now on the first of these signals [asks to stop](stop::request) where somebody [listens](stop::is_heard), and ends the
/// process where nothing is to be saved; the second ends it in any case. A signal that whoever started the program wants
/// ignored, as `nohup` does with SIGHUP, stays ignored. To be called once in a process.
///
/// # Errors
/// The signals cannot be watched, or the environment says wrongly which of several processes this is.
pub fn install() -> Result<()> {
    // of several processes, which get the signal together, one says so
    let speaks = Place::from_env()?.is_none_or(|place| place.rank == 0);
    let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let watched = [SIGINT, SIGTERM, SIGHUP];
    let watched = watched.into_iter().filter(|signal| !ignored(*signal));
    let failed = |err| {
        Error::System(format!(
            "cannot watch for Ctrl-C: {err}; raise the limits (ulimit -u, ulimit -v, ulimit -n)"
        ))
    };
    let mut signals = Signals::new(watched).map_err(failed)?;
    let watch = move || {
        for signal in signals.forever() {
            let first = RECEIVED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
            stop::request();
            if first.is_err() || !stop::is_heard() {
                exit_at_once(BASE + signal);
            }
            if speaks {
                eprintln!("stopping after this step and saving; once more stops at once");
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(watch).map_err(failed)?;
    Ok(())
}

/// Lets a file that has become too large for `ulimit -f` be an error of who writes it, and not the end of the process.
///
/// # Errors
/// The system does not allow it.
pub fn survive_large_files() -> Result<()> {
    // a handler that does nothing, which programs that are started do not inherit
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGXFSZ, flag)
        .map_err(|err| Error::config(format!("cannot watch for large files: {err}")))?;
    Ok(())
}

/// The exit status of a process that has saved and stopped: that of its signal, or of SIGTERM if another process got it.
pub fn exit_status() -> u8 {
    let signal = match RECEIVED.load(Ordering::SeqCst) {
        0 => SIGTERM,
        signal => signal,
    };
    u8::try_from(BASE + signal).unwrap_or(u8::MAX)
}

/// Which signals are ignored, by what Linux says about a process.
fn ignored(status: &str) -> impl Fn(i32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    move |signal| mask.unwrap_or(0) >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_about_ignored_signals_is_read() {
        let ignored = ignored("Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000000001\n");
        assert!(ignored(SIGHUP) && !ignored(SIGINT) && !ignored(SIGTERM));
        assert!(!super::ignored("")(SIGHUP));
    }
}
