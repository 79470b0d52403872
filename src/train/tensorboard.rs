//! TensorBoard's event files in a run folder, one for each session of the run.

use super::events::{length_up_to, record, Told};
use super::lock::host;
use super::metrics::Record;
use crate::data::Split;
use crate::{files, Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the names of event files begin with, for TensorBoard, and those of ours end with.
const NAME: (&str, &str) = ("events.out.tfevents.", ".inverse-flow");

/// The event file of a session.
#[derive(Debug)]
pub(super) struct Board {
    path: PathBuf,
    /// Made with the first event, so that a session without any leaves none.
    file: Option<File>,
    /// The first step of the session.
    first: u64,
    /// The configuration, as JSON.
    config: String,
}

impl Board {
    /// The events of a run in `root` that goes on after `step`. What a stopped session wrote past it, and a last event that
    /// was cut off, are removed.
    pub(super) fn open(root: &Path, step: u64, config: &str) -> Result<Self> {
        let older = files(root)?;
        for path in &older {
            cut(path, step).map_err(|err| Error::file(path, format!("cannot be cut: {err}")))?;
        }
        // readers take files by their names: a clock that was set back must not bring this one before the others
        let times = older.iter().filter_map(|path| time_of(path));
        let after = times.max().map_or(0, |latest| latest.saturating_add(1));
        let time = after.max(since_1970() as u64);
        let mut host = host();
        host.retain(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let process = std::process::id();
        Ok(Self {
            path: root.join(format!("{}{time:010}.{host}.{process}{}", NAME.0, NAME.1)),
            file: None,
            first: step.saturating_add(1),
            config: config.to_owned(),
        })
    }

    /// Adds what a line of `metrics.jsonl` has measured.
    pub(super) fn numbers(&mut self, line: &Record) -> Result<()> {
        // a line about changes: the configuration of this session has them
        if !line.changes.is_empty() {
            return Ok(());
        }
        let measured = match line.split {
            Split::Train => vec![
                ("train/nll_nats", line.nll_nats),
                ("train/bpd", line.bpd),
                (
                    "train/nll_nats_without_log_dets",
                    line.nll_nats_without_log_dets,
                ),
                ("train/bpd_without_log_dets", line.bpd_without_log_dets),
                ("train/lr", Some(line.lr)),
                ("train/grad_norm", line.grad_norm),
                ("train/images_per_s", line.images_per_s),
                ("train/data_wait", line.data_wait),
                ("train/skipped", Some(line.skipped as f64)),
                ("train/epoch", Some(line.epoch as f64)),
            ],
            _ => vec![
                ("val/nll_nats", line.nll_nats),
                ("val/bpd", line.bpd),
                ("val/images_per_s", line.images_per_s),
            ],
        };
        let known = measured.into_iter();
        let known: Vec<_> = known
            .filter_map(|(tag, value)| Some((tag, value?)))
            .collect();
        self.tell(line.step, Told::Scalars(&known))
    }

    /// Adds a sample grid.
    pub(super) fn picture(&mut self, step: u64, png: &Path) -> Result<()> {
        let bytes = std::fs::read(png).map_err(|err| Error::file(png, err))?;
        self.tell(step, Told::Picture("samples", &bytes))
    }

    fn tell(&mut self, step: u64, told: Told<'_>) -> Result<()> {
        let now = since_1970();
        let mut bytes = Vec::new();
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                bytes.extend(record(now, 0, Told::Version));
                bytes.extend(record(now, self.first, Told::SessionStart));
                // indented: code to Markdown
                let text = format!("    {}\n", self.config.replace('\n', "\n    "));
                bytes.extend(record(now, self.first, Told::Text("config", &text)));
                none.insert(files::open_to_append(&self.path)?)
            }
        };
        bytes.extend(record(now, step, told));
        // one call, so that a reader sees no half of it
        file.write_all(&bytes)
            .map_err(|err| Error::file(&self.path, err))
    }
}

/// The event files in a run folder that runs have written, by their names.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let failed = |err| Error::file(root, err);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if time_of(&path).is_some() && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The time in the name of an event file of ours.
fn time_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let between = name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?;
    between.split('.').next()?.parse().ok()
}

/// Cuts a file after the events up to `step`.
fn cut(path: &Path, step: u64) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let kept = length_up_to(step, &mut file)?;
    if kept < file.metadata()?.len() {
        let file = files::open_to_append(path).map_err(std::io::Error::other)?;
        file.set_len(kept)?;
    }
    Ok(())
}

/// Seconds.
fn since_1970() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_write_files_of_their_own_and_cut_those_before() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let sizes = || -> Vec<u64> {
            let files = files(root).unwrap().into_iter();
            files.map(|file| file.metadata().unwrap().len()).collect()
        };
        // what others have put there, also under a name of this kind
        std::fs::write(root.join("events.out.tfevents.9.other"), "mine").unwrap();
        let mut first = Board::open(root, 0, "{}").unwrap();
        assert!(files(root).unwrap().is_empty(), "no event, no file");
        let mut after = Vec::new();
        for step in [10, 20, 30] {
            first.tell(step, Told::Scalars(&[("a", 1.0)])).unwrap();
            after.push(sizes()[0]);
        }
        first.file.as_mut().unwrap().write_all(b"torn").unwrap();
        let mut second = Board::open(root, 20, "{}").unwrap();
        assert_eq!(sizes(), [after[1]]);
        second.tell(25, Told::Scalars(&[("a", 2.0)])).unwrap();
        // both were made in the same second
        let names = files(root).unwrap();
        assert_eq!((names.len(), &names[1]), (2, &second.path));
        Board::open(root, 0, "{}").unwrap();
        let kept = sizes();
        assert!(kept[0] < after[0] && kept[0] == kept[1], "{kept:?}");
        let others = std::fs::read(root.join("events.out.tfevents.9.other")).unwrap();
        assert_eq!(others, b"mine");
    }

    #[test]
    fn a_full_disk_is_told_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = Board::open(dir.path(), 0, "{}").unwrap();
        let full = File::options().append(true).open("/dev/full").unwrap();
        board.file = Some(full);
        let err = board.tell(1, Told::Scalars(&[("a", 1.0)])).unwrap_err();
        let message = err.to_string();
        assert!(
            message.contains(".inverse-flow: No space left"),
            "{message}"
        );
        let nowhere = dir.path().join("gone");
        std::fs::create_dir(&nowhere).unwrap();
        let mut board = Board::open(&nowhere, 0, "{}").unwrap();
        std::fs::remove_dir(&nowhere).unwrap();
        let err = board.tell(1, Told::Scalars(&[])).unwrap_err().to_string();
        assert!(err.contains("gone/events.out.tfevents."), "{err}");
    }
}
