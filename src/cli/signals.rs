//! Ctrl-C and SIGTERM as a request to save and stop.

use crate::distributed::Place;
use crate::ffi::exit::exit_at_once;
use crate::train::stop;
use crate::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

static RECEIVED: AtomicUsize = AtomicUsize::new(0);

/// Exit status of a process that a second Ctrl-C ends, by the shells' convention 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// From now on the first Ctrl-C, SIGTERM or SIGHUP only [asks to stop](stop::request), and the second ends the process
/// at once. To be called once in a process.
///
/// # Errors
/// The handler cannot be installed, or the environment says wrongly which of several processes this is.
pub fn install() -> Result<()> {
    // of several processes, which get the signal together, one says so
    let speaks = Place::from_env()?.is_none_or(|place| place.rank == 0);
    ctrlc::set_handler(move || {
        if RECEIVED.fetch_add(1, Ordering::SeqCst) == 0 {
            stop::request();
            if speaks {
                eprintln!("stopping after this step and saving; once more stops at once");
            }
        } else {
            exit_at_once(INTERRUPTED);
        }
    })
    .map_err(|err| Error::config(format!("cannot watch for Ctrl-C: {err}")))
}
