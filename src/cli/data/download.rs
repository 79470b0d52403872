//! Downloads by curl, archives by tar: files appear when they are whole.

use crate::files;
use anyhow::{bail, Context, Result};
use std::ffi::OsStr;
use std::fs;
use std::io::{stderr, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};

/// Unpacks beside the destination first, so that a half-unpacked folder never looks whole.
pub(super) fn unpack(archive: &Path, folder: &str, dir: &Path) -> Result<()> {
    let scratch = dir.join(format!("{folder}.part"));
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let args = [
        OsStr::new("-xzf"),
        archive.as_ref(),
        OsStr::new("-C"),
        scratch.as_ref(),
    ];
    if let Err(err) = run("tar", &args) {
        let _ = fs::remove_dir_all(&scratch);
        // the next attempt must not meet the same broken archive
        let _ = fs::remove_file(archive);
        return Err(err.context(format!("{} cannot be unpacked", archive.display())));
    }
    let target = dir.join(folder);
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    for entry in fs::read_dir(scratch.join(folder)).context("the archive holds no such folder")? {
        let entry = entry?;
        let place = target.join(entry.file_name());
        if !place.exists() {
            files::move_into_place(&entry.path(), &place)?;
        }
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))
}

/// Downloads with curl to a `.part` file, which a second attempt continues, and renames it when it is whole.
pub(super) fn download(url: &str, place: &Path) -> Result<()> {
    let part = place.with_extension("part");
    let resumed = part.exists();
    eprintln!(
        "{} {url}",
        if resumed { "continuing" } else { "downloading" }
    );
    let quiet: &[&str] = if stderr().is_terminal() {
        &["--progress-bar"]
    } else {
        &["--silent", "--show-error"]
    };
    let mut args: Vec<&OsStr> = quiet.iter().map(OsStr::new).collect();
    args.extend(
        [
            "--fail",
            "--location",
            "--retry",
            "3",
            "--connect-timeout",
            "20",
        ]
        .map(OsStr::new),
    );
    args.extend(["--continue-at", "-", "--output"].map(OsStr::new));
    args.extend([part.as_os_str(), OsStr::new(url)]);
    if let Err(err) = run("curl", &args) {
        if !resumed {
            return Err(err);
        }
        // a part that the server will not continue (whole already, or of another file) is worth one fresh start
        fs::remove_file(&part).with_context(|| format!("cannot remove {}", part.display()))?;
        run("curl", &args)?;
    }
    Ok(files::move_into_place(&part, place)?)
}

/// Runs a program; its error output shows on a terminal and is part of the error elsewhere.
fn run(program: &str, args: &[&OsStr]) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if stderr().is_terminal() {
        command.stderr(Stdio::inherit());
    }
    let result = command.output().with_context(|| {
        format!("the program `{program}` cannot be run; install it (apt-get install {program}, dnf install {program})")
    })?;
    if result.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&result.stderr);
    let why = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no message");
    bail!("{program} failed ({}): {}", result.status, why.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_renamed_when_whole_and_continued_when_not() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, b"0123456789").unwrap();
        let url = format!("file://{}", source.display());
        let place = dir.path().join("place.gz");
        fs::write(place.with_extension("part"), b"0123").unwrap();
        download(&url, &place).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"0123456789");
        assert!(!place.with_extension("part").exists());
    }

    #[test]
    fn a_failed_download_leaves_no_file_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place.gz");
        let err = download("file:///nowhere/at/all", &place).unwrap_err();
        assert!(format!("{err:#}").contains("curl failed"), "{err:#}");
        assert!(!place.exists());
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let err = run("no-such-program", &[]).unwrap_err();
        assert!(
            format!("{err:#}").contains("apt-get install no-such-program"),
            "{err:#}"
        );
    }
}
