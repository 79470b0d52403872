//! How the processes of a group find each other: at the store, where each says that it is there.

use super::Place;
use crate::ffi::group::Store;
use crate::{Error, Result};
use std::time::{Duration, Instant};

/// torch's store takes no time at all for no limit.
const SHORTEST: Duration = Duration::from_millis(10);

/// What is left until `deadline`, and never nothing.
pub(super) fn until(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(SHORTEST)
}

/// The store of the group, once all of its processes are there.
pub(super) fn meet(place: &Place, timeout: Duration) -> Result<Store> {
    let deadline = Instant::now() + timeout;
    let (rank, ranks) = (place.rank, place.ranks);
    let store = open(place, timeout)?;
    if store.count(&format!("claims/{rank}"))? > 1 {
        return Err(place.problem(format!(
            "another process is rank {rank} too: give each its own RANK"
        )));
    }
    store.set(&format!("here/{rank}"), &ranks.to_string())?;
    let mut missing = Vec::new();
    for other in 0..ranks {
        match store.get(&format!("here/{other}"), until(deadline))? {
            Some(told) if told != ranks.to_string() => {
                return Err(place.problem(format!(
                    "rank {other} was started with WORLD_SIZE={told}, this one with {ranks}: give all the same"
                )))
            }
            Some(_) => {}
            None => missing.push(other),
        }
    }
    if !missing.is_empty() {
        return Err(place.problem(format!(
            "{} did not come within {} s: start all ranks, with the same MASTER_ADDR and MASTER_PORT",
            names(&missing),
            timeout.as_secs()
        )));
    }
    Ok(store)
}

/// One more connection to the store of a group that has met.
pub(super) fn client(place: &Place, timeout: Duration) -> Result<Store> {
    Store::open(&place.host, place.port, false, &prefix(place), timeout)
}

fn prefix(place: &Place) -> String {
    format!("inverse-flow/{}/{}", place.run, place.attempt)
}

fn open(place: &Place, timeout: Duration) -> Result<Store> {
    let Place { host, port, .. } = place;
    let prefix = prefix(place);
    Store::open(host, *port, place.keeps_store(), &prefix, timeout).map_err(|err| {
        place.problem(match place.keeps_store() {
            true => format!("cannot listen at {host}:{port}: {err}; take another MASTER_PORT"),
            false => format!(
                "nobody answers at {host}:{port}: {err}; start rank 0 on that machine, and check MASTER_ADDR, MASTER_PORT and \
                 the firewall"
            ),
        })
    })
}

/// `rank 1`, `ranks 1, 2`.
pub(super) fn names(ranks: &[u32]) -> String {
    let list: Vec<_> = ranks.iter().map(u32::to_string).collect();
    let word = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{word} {}", list.join(", "))
}

impl Place {
    /// Who keeps the store.
    pub(super) fn keeper(&self) -> String {
        let Self { host, port, .. } = self;
        match self.by_torchrun {
            true => format!("torchrun at {host}:{port}"),
            false => "rank 0".into(),
        }
    }

    pub(super) fn problem(&self, problem: String) -> Error {
        Error::Group {
            rank: self.rank,
            ranks: self.ranks,
            problem,
        }
    }
}
