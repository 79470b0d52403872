//! Ctrl-C and SIGTERM as a request to save and stop.

use crate::ffi::exit::exit_at_once;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static RECEIVED: AtomicUsize = AtomicUsize::new(0);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Exit status of a process that a second Ctrl-C ends, by the shells' convention 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// From now on the first Ctrl-C, SIGTERM or SIGHUP only makes [`stop_requested`] true, and the second ends the
/// process at once. To be called once in a process.
///
/// # Errors
/// The handler cannot be installed.
pub fn install() -> Result<()> {
    ctrlc::set_handler(|| {
        if RECEIVED.fetch_add(1, Ordering::SeqCst) == 0 {
            eprintln!("stopping after this step and saving; once more stops at once");
        } else {
            exit_at_once(INTERRUPTED);
        }
    })
    .map_err(|err| Error::config(format!("cannot watch for Ctrl-C: {err}")))
}

/// Makes [`stop_requested`] true without a signal; the first signal then still does not end the process.
pub fn request_stop() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether a signal or the program itself has asked to stop.
pub fn stop_requested() -> bool {
    RECEIVED.load(Ordering::SeqCst) > 0 || REQUESTED.load(Ordering::SeqCst)
}
