//! Which rank was the cause: what a group does when a call of one of its processes has failed.
//!
//! A closed connection does not say who is gone: whoever notices leaves too, and so do those who notice that. So each leaves a
//! word at the store (the cause, if it knows one, else nothing), and reads the words of the others. Who leaves no word within
//! [`PATIENCE`] is dead, hangs, or has not noticed yet.

use super::meeting::{names, until};
use super::Place;
use crate::ffi::group::Store;
use crate::{Error, Result};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long the others have for their word.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the process that keeps the store then stays for those who still read.
const LINGER: Duration = Duration::from_secs(2);

/// Whether this process was the first to ask who tells the user about the end; unknown until it has asked.
pub(super) type IsFirst = Arc<OnceLock<bool>>;

/// What one can find out about the end of a group.
enum Finding {
    /// A rank that said why it left.
    Cause(u32, String),
    /// Ranks without a word; none if all have lost a connection.
    Silent(Vec<u32>),
}

/// Leaves the word that this process does not know the cause, and says what the others know.
pub(super) fn ask(place: &Place, store: &Arc<Store>, first: &IsFirst) -> String {
    let (asked, first) = (place.clone(), Arc::clone(first));
    match in_time(store, move |store| inquire(&asked, store, &first)) {
        Ok(Finding::Cause(rank, cause)) => format!("rank {rank} failed: {cause}"),
        Ok(Finding::Silent(ranks)) if ranks.is_empty() => {
            "a connection broke, and every rank is still there: see the network".into()
        }
        Ok(Finding::Silent(ranks)) => format!(
            "{} left no word: see what it printed, and start all ranks again",
            names(&ranks)
        ),
        Err(err) => format!(
            "{} does not answer ({err}): see what it printed, and start all ranks again",
            place.keeper()
        ),
    }
}

/// Leaves `cause` as the last word of this process.
pub(super) fn tell(place: &Place, store: &Arc<Store>, cause: &str) -> Result<()> {
    let (asked, cause) = (place.clone(), cause.to_owned());
    in_time(store, move |store| {
        store.set(&format!("word/{}", asked.rank), &cause)?;
        let others: Vec<_> = others(&asked).collect();
        linger(&asked, store, &others, PATIENCE + LINGER)
    })
}

/// Whether no other process has asked this before: whoever is first tells the user about the end. All of them are where the
/// store does not answer.
pub(super) fn is_first(store: &Arc<Store>, first: &IsFirst) -> bool {
    let settled = Arc::clone(first);
    let answer = in_time(store, move |store| Ok(settle(&settled, store)));
    answer.unwrap_or(true)
}

fn settle(first: &IsFirst, store: &Store) -> bool {
    *first.get_or_init(|| store.count("speaker").map_or(true, |count| count == 1))
}

fn inquire(place: &Place, store: &Store, first: &IsFirst) -> Result<Finding> {
    let deadline = Instant::now() + PATIENCE;
    store.set(&format!("word/{}", place.rank), "")?;
    let (mut cause, mut present, mut silent) = (None, Vec::new(), Vec::new());
    for other in others(place) {
        match store.get(&format!("word/{other}"), until(deadline))? {
            None => silent.push(other),
            Some(word) => {
                present.push(other);
                if !word.is_empty() && cause.is_none() {
                    cause = Some(Finding::Cause(other, word));
                }
            }
        }
    }
    // before the store's process may leave: without it everyone would speak
    settle(first, store);
    store.set(&format!("read/{}", place.rank), "")?;
    linger(place, store, &present, LINGER)?;
    Ok(cause.unwrap_or(Finding::Silent(silent)))
}

/// The store ends with the process that keeps it: it waits until `readers` have read.
fn linger(place: &Place, store: &Store, readers: &[u32], time: Duration) -> Result<()> {
    if place.keeps_store() {
        let deadline = Instant::now() + time;
        for other in readers {
            store.get(&format!("read/{other}"), until(deadline))?;
        }
    }
    Ok(())
}

/// Runs `work` on a thread of its own, which is left behind if the store's process hangs: torch's calls wait for its answer.
fn in_time<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let store = Arc::clone(store);
    let (done, result) = sync_channel(1);
    thread::Builder::new()
        .spawn(move || done.send(work(&store)))
        .map_err(|err| Error::Torch(format!("no thread can be started: {err}")))?;
    let time = PATIENCE + LINGER + LINGER;
    result.recv_timeout(time).unwrap_or_else(|_| {
        Err(Error::Torch(format!(
            "no answer within {} s",
            time.as_secs()
        )))
    })
}

fn others(place: &Place) -> impl Iterator<Item = u32> {
    let rank = place.rank;
    (0..place.ranks).filter(move |&other| other != rank)
}
