//! What outlives the processes of a group: torchrun keeps the store, and may start them again.

use super::meeting::until;
use super::Place;
use crate::ffi::group::Store;
use crate::Result;
use std::time::{Duration, Instant};

/// Notes that the processes of an attempt leave for those of the next one.
#[derive(Debug)]
pub struct Notes(Store);

impl Notes {
    /// Those at the store of `place`; `None` where nobody keeps it longer than the processes live.
    ///
    /// # Errors
    /// The store does not answer within `timeout`.
    pub fn open(place: &Place, timeout: Duration) -> Result<Option<Self>> {
        if !place.by_torchrun {
            return Ok(None);
        }
        // without the number of the attempt, which is in front of all other keys
        let prefix = format!("inverse-flow/{}/notes", place.run);
        let store = Store::open(&place.host, place.port, false, &prefix, timeout);
        let failed = |err| place.problem(format!("torchrun does not answer: {err}"));
        Ok(Some(Self(store.map_err(failed)?)))
    }

    /// Leaves a note.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub fn leave(&self, note: &str) -> Result<()> {
        self.0.set(note, "")
    }

    /// Whether the note was left, in this attempt or before.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub fn has(&self, note: &str) -> Result<bool> {
        Ok(self.0.get(note, until(Instant::now()))?.is_some())
    }
}
