//! Several processes that compute together, by torch's c10d: the store of keys, and collectives on CPU tensors.

use super::status::checked;
use super::sys;
use crate::{Error, Result};
use std::ffi::{c_char, c_int, c_void, CString};
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

/// This process's connections to the others. Tensors are dense, on the CPU, and of the same shape and kind in all processes.
#[derive(Debug)]
pub(crate) struct Members(*mut c_void);

// SAFETY: the connections belong to no thread; `&mut self` lets one thread at a time use them.
unsafe impl Send for Members {}

impl Members {
    /// Connects to all others, who do the same.
    ///
    /// # Errors
    /// One of them is not there within `timeout`, which holds for all later calls too.
    pub(crate) fn join(store: &Store, rank: u32, ranks: u32, timeout: Duration) -> Result<Self> {
        let number = |n: u32| {
            c_int::try_from(n).map_err(|_| Error::config(format!("{n} processes are too many")))
        };
        let (rank, ranks) = (number(rank)?, number(ranks)?);
        let mut out = std::ptr::null_mut();
        checked(|error| {
            // SAFETY: the store is open; the members hold a reference of their own to what is behind it.
            unsafe { sys::ivf_members_join(store.0, rank, ranks, millis(timeout), &mut out, error) }
        })?;
        Ok(Self(out))
    }

    /// The sum over all processes, in place.
    ///
    /// # Errors
    /// Another process has ended or does not come in time.
    pub(crate) fn sum(&mut self, tensor: &Tensor) -> Result<()> {
        checked(|error| {
            // SAFETY: a handle of a borrowed tensor; the members are connected as long as `self`.
            unsafe { sys::ivf_members_sum(self.0, tensor.as_ptr().cast_mut(), error) }
        })
    }

    /// The tensor of rank 0, in place.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub(crate) fn broadcast(&mut self, tensor: &Tensor) -> Result<()> {
        checked(|error| {
            // SAFETY: as in `sum`.
            unsafe { sys::ivf_members_broadcast(self.0, tensor.as_ptr().cast_mut(), error) }
        })
    }

    /// Waits until all processes have come here.
    ///
    /// # Errors
    /// As [`sum`](Self::sum).
    pub(crate) fn barrier(&mut self) -> Result<()> {
        // SAFETY: as in `sum`.
        checked(|error: *mut *mut c_char| unsafe { sys::ivf_members_barrier(self.0, error) })
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        // SAFETY: made by `join`, dropped once.
        unsafe { sys::ivf_members_leave(self.0) }
    }
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::config(format!("{text:?} contains a zero byte")))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
