//! The request to save and stop, which a signal or the program itself makes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// Asks every run of this process to save and stop after the step that it is in; this cannot be taken back.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether somebody has asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Whether a request is acted upon soon. Otherwise nothing is lost by ending the process: all that is to be saved is, or
/// there is nothing yet.
pub fn is_heard() -> bool {
    LISTENERS.load(Ordering::SeqCst) > 0
}

/// While this is alive somebody looks for a request and has something to save.
#[derive(Debug)]
pub struct Listening(());

/// From now on somebody looks for a request.
pub fn listen() -> Listening {
    LISTENERS.fetch_add(1, Ordering::SeqCst);
    Listening(())
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::SeqCst);
    }
}
