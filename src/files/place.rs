//! Whether files can be written somewhere, asked before the work whose result they shall hold; and the files of a series.

use super::{end_of_links, failed, folder_of};
use crate::{Error, Result};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

/// Whether something is there that is written into: a device or a pipe.
pub(crate) fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// Checks that a file can be put in a place, by a file that is made there for a moment: in its folder, or in the nearest one
/// above that is there. Changes nothing.
///
/// # Errors
/// A folder is in the place, or nothing can be written where it is.
pub(crate) fn check_place(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::file(path, "a folder is there: give a file name"));
    }
    let place = end_of_links(path).map_err(|err| failed(path, &err))?;
    writable(folder_of(&place)).map_err(|err| failed(path, &err))
}

/// Checks that files can be made in a folder, which itself may have to be made. Changes nothing.
///
/// # Errors
/// Something else is in its place, or nothing can be written there.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    writable(folder).map_err(|err| failed(folder, &err))
}

fn writable(folder: &Path) -> io::Result<()> {
    let mut nearest = folder;
    while !nearest.exists() {
        nearest = folder_of(nearest);
    }
    if !nearest.is_dir() {
        let problem = format!("{} is no folder", nearest.display());
        return Err(io::Error::other(problem));
    }
    tempfile::tempfile_in(nearest).map(drop).map_err(|err| {
        let problem = format!("nothing can be written into {}: {err}", nearest.display());
        io::Error::other(problem)
    })
}

/// Puts `content` in the place of a file of a series, which is there whole or not at all, unless the machine itself stops:
/// nobody waits for the disk, file by file. What is left unfinished is replaced by the next try.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_in_series(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(super::UNFINISHED);
    let unfinished = folder_of(path).join(name);
    let written = fs::write(&unfinished, content).and_then(|()| fs::rename(&unfinished, path));
    written.map_err(|err| failed(path, &err))
}

/// Makes a folder, with those above it, if need be.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|err| failed(folder, &err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "old").unwrap();
        check_place(&at("file")).unwrap();
        check_place(&at("new/below/file.png")).unwrap();
        check_folder(&at("new")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::read(at("file")).unwrap(), b"old");
        for (err, part) in [
            (check_place(dir.path()), "a folder is there"),
            (check_place(&at("file/below.png")), "file is no folder"),
            (check_folder(&at("file/below")), "file is no folder"),
            (check_folder(&at("file")), "file is no folder"),
            (
                check_place(Path::new("/proc/1/x.png")),
                "nothing can be written into /proc/1",
            ),
        ] {
            let message = err.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(is_device(Path::new("/dev/null")) && !is_device(&at("file")));
    }

    #[test]
    fn the_files_of_a_series_replace_what_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("7.png");
        fs::write(dir.path().join(".7.png.unfinished"), "half, and longer").unwrap();
        write_in_series(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_in_series(&dir.path().join("gone/7.png"), b"").is_err());
    }
}
