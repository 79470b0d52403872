//! One run at a time writes into a run folder.

use crate::{files, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file in a run folder, as long as a process writes there.
pub(super) const NAME: &str = "lock.json";

/// The right to write into a run folder, as long as this lives.
///
/// The file is locked by the system, which takes the lock back from a process that is gone, however it ended, also over most
/// network file systems. Where the file system knows no locks, the host and the process that stand in the file decide.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

/// Who has a folder.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    host: String,
    process: u32,
}

impl Lock {
    /// Takes the folder, also from a process that left without giving it back.
    ///
    /// # Errors
    /// Another process has it, which is named; the file cannot be written.
    pub(super) fn take(root: &Path) -> Result<Self> {
        let path = root.join(NAME);
        let failed = |err: std::io::Error| Error::file(&path, format!("cannot be written: {err}"));
        loop {
            let mut file = files::open_to_append(&path)?;
            let holder = Holder::read(&path);
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(root, holder)),
                Err(TryLockError::Error(_)) => {
                    if holder.as_ref().is_some_and(Holder::may_be_alive) {
                        return Err(in_use(root, holder));
                    }
                }
            }
            // before it was locked, the process that had it may have removed it
            let same = std::fs::metadata(&path).is_ok_and(|there| {
                let here = file.metadata();
                here.is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
            });
            if !same {
                continue;
            }
            let text =
                serde_json::to_string(&Holder::this()).map_err(|err| Error::file(&path, err))?;
            file.set_len(0).map_err(failed)?;
            file.write_all(text.as_bytes()).map_err(failed)?;
            return Ok(Self { path, _file: file });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // before the lock is given back: nobody else can have it
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Holder {
    fn this() -> Self {
        Self {
            host: host(),
            process: std::process::id(),
        }
    }

    /// Who is written there; nobody in an empty file.
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }

    /// On another host nobody can tell.
    fn may_be_alive(&self) -> bool {
        self.host != Self::this().host || Path::new(&format!("/proc/{}", self.process)).exists()
    }
}

/// The name of this machine.
pub(super) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}

fn in_use(root: &Path, holder: Option<Holder>) -> Error {
    let holder = match holder {
        Some(Holder { host, process }) => format!("process {process} on {host}"),
        None => "another process".into(),
    };
    Error::file(
        root,
        format!(
            "{holder} is writing into this run: stop it first, or choose another folder; if it is gone for sure, remove {NAME} there"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_in_use_is_refused_with_the_process_and_is_free_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let err = Lock::take(dir.path()).unwrap_err().to_string();
        let holder = format!("process {} on ", std::process::id());
        assert!(err.contains(&holder), "{err}");
        drop(lock);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
        drop(Lock::take(dir.path()).unwrap());
    }

    #[test]
    fn a_lock_whose_process_is_gone_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let left = r#"{"host":"elsewhere","process":1}"#;
        for text in [left, "", "{\"host"] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            let lock = Lock::take(dir.path()).unwrap();
            assert_eq!(Holder::read(&lock.path), Some(Holder::this()));
        }
        let gone = Holder {
            process: u32::MAX,
            ..Holder::this()
        };
        assert!(!gone.may_be_alive() && Holder::this().may_be_alive());
        let elsewhere: Holder = serde_json::from_str(left).unwrap();
        assert!(elsewhere.may_be_alive());
    }
}
