//! Batches that are made while the step before is taken, so that no step waits for files or random numbers.

use super::batches::Batches;
use super::host_batches::Made;
use crate::data::Dataset;
use crate::ffi::threads::compute_alone;
use crate::{Error, Result};
use std::sync::mpsc::{sync_channel, Receiver};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tch::Tensor;

/// Batches that lie ready at most; one more is being made.
const READY: usize = 2;

/// The batches of an epoch from one of them on, each made ahead of the step that takes it: see [`Batches::ahead`].
#[derive(Debug)]
pub struct Ahead {
    batches: Batches,
    data: Arc<Dataset>,
    next: u64,
    /// None where the host makes nothing.
    worker: Option<Worker>,
    waited: Duration,
}

impl Batches {
    /// The batches from `first` on, made by a thread of its own where the host has a share in them. `data` are the images that
    /// the [`Feed`](super::Feed) was made for.
    ///
    /// # Errors
    /// A system that starts no more threads.
    pub fn ahead(self, data: &Arc<Dataset>, first: u64) -> Result<Ahead> {
        Ok(Ahead {
            worker: match self.need_the_host() && first < self.len() {
                true => Some(Worker::start(&self, data, first)?),
                false => None,
            },
            batches: self,
            data: Arc::clone(data),
            next: first,
            waited: Duration::ZERO,
        })
    }
}

impl Ahead {
    /// All batches, to ask for one by its number.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// The next batch, as [`Batches::get`] makes it.
    ///
    /// # Errors
    /// As there; the end of the epoch is one.
    pub fn take(&mut self) -> Result<(Tensor, Tensor)> {
        self.batches.images(self.next)?;
        let started = Instant::now();
        let made = self.worker.as_ref().map(Worker::take).transpose()?;
        self.waited += started.elapsed();
        let batch = self.batches.on_device(self.data.chw, self.next, made)?;
        self.next += 1;
        Ok(batch)
    }

    /// How long [`take`](Self::take) has waited for the host's share since this was asked last.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }
}

/// The thread that makes them. It ends with the epoch, at an error, or when nobody takes them any more.
#[derive(Debug)]
struct Worker {
    /// None while it is being dropped.
    made: Option<Receiver<Result<Made>>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(batches: &Batches, data: &Arc<Dataset>, first: u64) -> Result<Self> {
        let (host, data) = (Arc::clone(&batches.host), Arc::clone(data));
        let (sender, made) = sync_channel(READY);
        let work = move || {
            // a team of its own would wait on the processors of the one that takes the step
            compute_alone();
            for number in first..host.order.len() as u64 {
                let made = host.make(&data, number);
                let last = made.is_err();
                if sender.send(made).is_err() || last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("batches".into()).spawn(work);
        Ok(Self {
            made: Some(made),
            thread: Some(thread.map_err(|err| {
                Error::System(format!(
                    "no thread can be started to make batches: {err}; raise the limits (ulimit -u, ulimit -v)"
                ))
            })?),
        })
    }

    fn take(&self) -> Result<Made> {
        let made = self.made.as_ref().and_then(|made| made.recv().ok());
        // the thread panicked, which has printed why
        let lost = || Error::config("the thread that makes the batches is gone");
        made.unwrap_or_else(|| Err(lost()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // it finds nobody to send the batch to that it has made
        drop(self.made.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
