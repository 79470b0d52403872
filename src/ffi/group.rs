//! Several processes that compute together, by torch's c10d: the store of keys, and collectives.

use super::nccl;
use super::status::checked;
use super::sys;
use crate::{Error, Result};
use std::ffi::{c_char, c_int, c_void, CString};
use std::fmt::Display;
use std::time::Duration;
use tch::Tensor;

/// A table of keys that one process keeps and all of them reach.
#[derive(Debug)]
pub(crate) struct Store(*mut c_void);

// SAFETY: c10d's stores hold a lock during each call, so any thread may make one.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// Connects to the store at `host:port`, or keeps it there (`serve`). All keys get `prefix` in front.
    ///
    /// # Errors
    /// The port is taken, or nobody keeps a store there within `timeout`.
    pub(crate) fn open(
        host: &str,
        port: u16,
        serve: bool,
        prefix: &str,
        timeout: Duration,
    ) -> Result<Self> {
        let (host, prefix) = (text(host)?, text(prefix)?);
        let mut out = std::ptr::null_mut();
        checked(|error| {
            // SAFETY: the strings and out-pointers live for the call; the callee keeps none of them.
            unsafe {
                sys::ivf_store_open(
                    host.as_ptr(),
                    port,
                    c_int::from(serve),
                    prefix.as_ptr(),
                    millis(timeout),
                    &mut out,
                    error,
                )
            }
        })?;
        Ok(Self(out))
    }

    /// Gives a key its value.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<()> {
        let key = text(key)?;
        checked(|error| {
            // SAFETY: the store is open as long as `self`; key and value live for the call, which copies them.
            unsafe { sys::ivf_store_set(self.0, key.as_ptr(), value.as_ptr(), value.len(), error) }
        })
    }

    /// Which call for this key it is, counted from 1 over all processes.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) fn count(&self, key: &str) -> Result<i64> {
        let key = text(key)?;
        let mut count = 0;
        checked(|error| {
            // SAFETY: the store is open as long as `self`; key and out-pointers live for the call.
            unsafe { sys::ivf_store_count(self.0, key.as_ptr(), &mut count, error) }
        })?;
        Ok(count)
    }

    /// The value of a key as soon as it has one; `None` if it has none within `timeout`.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub(crate) fn get(&self, key: &str, timeout: Duration) -> Result<Option<String>> {
        unsafe extern "C" fn keep(sink: *mut c_void, bytes: *const u8, n: usize) {
            // SAFETY: `sink` is the vector below, and `bytes` are `n` bytes of the callee's; an empty value may be NULL.
            unsafe {
                if n > 0 {
                    let value = sink.cast::<Vec<u8>>();
                    (*value).extend_from_slice(std::slice::from_raw_parts(bytes, n));
                }
            }
        }
        let key = text(key)?;
        let mut value: Vec<u8> = Vec::new();
        let mut there = 0;
        checked(|error| {
            // SAFETY: the store is open as long as `self`; key, value and out-pointers live for the call.
            unsafe {
                sys::ivf_store_get(
                    self.0,
                    key.as_ptr(),
                    millis(timeout),
                    &mut there,
                    (&raw mut value).cast(),
                    keep,
                    error,
                )
            }
        })?;
        Ok((there != 0).then(|| String::from_utf8_lossy(&value).into_owned()))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed once.
        unsafe { sys::ivf_store_close(self.0) }
    }
}

/// This process's connections to the others. Tensors are dense, and of the same shape and kind in all processes.
#[derive(Debug)]
pub(crate) struct Members {
    handle: *mut c_void,
    aborted: bool,
}

// SAFETY: the connections belong to no thread; `&mut self` lets one thread at a time use them.
unsafe impl Send for Members {}

impl Members {
    /// Connects to all others for CPU tensors, over Gloo. They do the same.
    ///
    /// # Errors
    /// One of them is not there within `timeout`, which holds for all later calls too.
    pub(crate) fn join(store: &Store, rank: u32, ranks: u32, timeout: Duration) -> Result<Self> {
        Self::from(sys::ivf_members_join, store, rank, ranks, timeout)
    }

    /// Connects this process's CUDA device `index` to those of all others, over NCCL. They do the same. libtorch's CUDA half is
    /// loaded.
    ///
    /// # Errors
    /// As [`nccl::join`], and as [`join`](Self::join).
    pub(crate) fn join_gpus(
        store: &Store,
        rank: u32,
        ranks: u32,
        index: usize,
        timeout: Duration,
    ) -> Result<Self> {
        let device = number(index)?;
        let mut members = Self::from(nccl::join()?, store, rank, ranks, timeout)?;
        // SAFETY: as in `sum`.
        let connected =
            checked(|error| unsafe { sys::ivf_members_connect(members.handle, device, error) });
        if connected.is_err() {
            members.abort();
        }
        connected.map(|()| members)
    }

    fn from(
        join: sys::MembersJoin,
        store: &Store,
        rank: u32,
        ranks: u32,
        timeout: Duration,
    ) -> Result<Self> {
        let (rank, ranks) = (number(rank)?, number(ranks)?);
        let mut handle = std::ptr::null_mut();
        checked(|error| {
            // SAFETY: the store is open; the members hold a reference of their own to what is behind it.
            unsafe { join(store.0, rank, ranks, millis(timeout), &mut handle, error) }
        })?;
        Ok(Self {
            handle,
            aborted: false,
        })
    }

    /// Ends what is under way on a GPU, which waits for a process that is gone. Only for the end of the group.
    pub(crate) fn abort(&mut self) {
        self.aborted = true;
        // SAFETY: as in `sum`.
        unsafe { sys::ivf_members_abort(self.handle) }
    }

    /// The sum over all processes, in place.
    ///
    /// # Errors
    /// Another process has ended or does not come in time.
    pub(crate) fn sum(&mut self, tensor: &Tensor) -> Result<()> {
        checked(|error| {
            // SAFETY: a handle of a borrowed tensor; the members are connected as long as `self`.
            unsafe { sys::ivf_members_sum(self.handle, tensor.as_ptr().cast_mut(), error) }
        })
    }

    /// The tensor of rank 0, in place.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub(crate) fn broadcast(&mut self, tensor: &Tensor) -> Result<()> {
        checked(|error| {
            // SAFETY: as in `sum`.
            unsafe { sys::ivf_members_broadcast(self.handle, tensor.as_ptr().cast_mut(), error) }
        })
    }

    /// Waits until all processes have come here.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub(crate) fn barrier(&mut self) -> Result<()> {
        // SAFETY: as in `sum`.
        checked(|error: *mut *mut c_char| unsafe { sys::ivf_members_barrier(self.handle, error) })
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        // SAFETY: made by `from`, dropped once.
        unsafe { sys::ivf_members_leave(self.handle, c_int::from(self.aborted)) }
    }
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::config(format!("{text:?} contains a zero byte")))
}

fn number<N: TryInto<c_int> + Copy + Display>(n: N) -> Result<c_int> {
    n.try_into()
        .map_err(|_| Error::config(format!("{n} processes or devices are too many")))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
