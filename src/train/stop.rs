//! The request to save and stop, which a signal or the program itself makes.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks every run of this process to save and stop after the step that it is in; this cannot be taken back.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether somebody has asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
