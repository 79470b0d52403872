//! The time of a run.

use std::time::Instant;

/// Time of a run over all its sessions, and since its last checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    before: f64,
    started: Instant,
    saved: Instant,
}

impl Clock {
    /// Goes on from `before` seconds.
    pub(super) fn starting_at(before: f64) -> Self {
        let now = Instant::now();
        Self {
            before,
            started: now,
            saved: now,
        }
    }

    /// Seconds of all sessions.
    pub(super) fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// A checkpoint is written.
    pub(super) fn saved(&mut self) {
        self.saved = Instant::now();
    }

    /// Minutes since the last checkpoint, or since the session began.
    pub(super) fn minutes_unsaved(&self) -> f64 {
        self.saved.elapsed().as_secs_f64() / 60.0
    }
}
