//! The one way in which this crate writes files: whole or not at all.
//!
//! [`write`] fills a temporary file in the folder of the file, waits until its content is on the disk and renames it. So
//! a reader sees the old file or the new one, and what goes wrong leaves the old one in its place:
//!
//! | what goes wrong | what is left beside the old file |
//! |---|---|
//! | an error: no space, no permission, a panic | nothing |
//! | the process or the machine stops | `.NAME.??????.unfinished`, which the next write of the same file removes |
//!
//! A symbolic link stays one: the file that it points to is replaced. What is no file but a device or a pipe, like
//! `/dev/null`, is written into. A new file gets the permissions that the umask leaves, a replaced one keeps its own.
//!
//! [`write_with`] does the same with what is written piece by piece. Two more calls serve files that grow or come from
//! elsewhere: [`open_to_append`] and [`move_into_place`]. `place` has what is asked before, and the files of a series.

#[cfg(feature = "program")]
pub(crate) mod place;

use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What the names of temporary files end with.
const UNFINISHED: &str = ".unfinished";

/// Whether a file of this name is one that nobody has finished.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

/// Random characters in the name of a temporary file.
const RANDOM: usize = 6;

/// Symbolic links that are followed before they count as a circle, as in Linux itself.
const MOST_LINKS: usize = 40;

/// Puts `content` in the place of the file `path`.
///
/// # Errors
/// The file cannot be written; an older one is left as it was.
pub(crate) fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    replace(path, |file| file.write_all(content.as_ref())).map_err(|err| failed(path, &err))
}

/// What can be written into at any place.
pub(crate) trait WriteSeek: Write + Seek {}

impl<T: Write + Seek> WriteSeek for T {}

/// Puts what `content` writes in the place of the file `path`.
///
/// # Errors
/// That of `content`, or the file cannot be written; an older one is left as it was.
pub(crate) fn write_with(
    path: &Path,
    content: impl FnOnce(&mut dyn WriteSeek) -> Result<()>,
) -> Result<()> {
    let mut failure = None;
    let replaced = replace(path, |file| {
        content(file).map_err(|err| {
            failure = Some(err);
            io::ErrorKind::Other.into()
        })
    });
    match failure {
        Some(err) => Err(err),
        None => replaced.map_err(|err| failed(path, &err)),
    }
}

/// Opens a file for more lines at its end; it is made if need be.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn open_to_append(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.append(true).create(true).open(path);
    opened.map_err(|err| failed(path, &err))
}

/// Gives the finished file `from`, which another program wrote, its place, once its content is on the disk. Both are on
/// one file system.
///
/// # Errors
/// The file cannot be read or moved.
#[cfg(feature = "program")]
pub(crate) fn move_into_place(from: &Path, path: &Path) -> Result<()> {
    let moved = File::open(from).and_then(|file| {
        file.sync_all()?;
        fs::rename(from, path)?;
        sync_folder(folder_of(path))
    });
    moved.map_err(|err| failed(path, &err))
}

/// Gives what is in the file `from` now the name `kept` too, in place of what had it: whoever writes `from` again, as this
/// crate does, leaves it alone.
///
/// # Errors
/// The file cannot be read, or not be written under that name.
pub(crate) fn keep(from: &Path, kept: &Path) -> Result<()> {
    match fs::remove_file(kept) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(failed(kept, &err)),
        _ => {}
    }
    match fs::hard_link(from, kept) {
        Ok(()) => Ok(()),
        // not every file system has links
        Err(_) => write(kept, fs::read(from).map_err(|err| Error::file(from, err))?),
    }
}

/// Makes the folder of a file, with those above it, if need be.
///
/// # Errors
/// A folder cannot be made.
#[cfg(feature = "program")]
pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    fs::create_dir_all(folder_of(path)).map_err(|err| failed(path, &err))
}

fn failed(path: &Path, err: &io::Error) -> Error {
    Error::file(path, format!("cannot be written: {err}"))
}

/// [`write`] with what `content` writes.
fn replace(
    path: &Path,
    content: impl FnOnce(&mut dyn WriteSeek) -> io::Result<()>,
) -> io::Result<()> {
    let permissions = match fs::metadata(path) {
        Ok(about) if about.is_file() => Some(about.permissions()),
        Ok(about) if about.is_dir() => {
            return Err(io::Error::other("a folder is there: give a file name"))
        }
        // a device or a pipe
        Ok(_) => return content(&mut OpenOptions::new().write(true).open(path)?),
        Err(err) if err.kind() == io::ErrorKind::NotFound => None,
        Err(err) => return Err(err),
    };
    let place = end_of_links(path)?;
    let (Some(name), folder) = (place.file_name(), folder_of(&place)) else {
        return Err(io::Error::other("it is not a file name"));
    };
    let temporary = temporary(folder, name)?;
    let mut buffered = BufWriter::new(temporary.as_file());
    content(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    if let Some(permissions) = permissions {
        temporary.as_file().set_permissions(permissions)?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(&place).map_err(|err| err.error)?;
    sync_folder(folder)
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Where symbolic links lead; the last one may point to a file that is not there yet.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&place) {
            Ok(target) => place = folder_of(&place).join(target),
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::other("its symbolic links lead in a circle"))
}

/// An empty file in `folder` that is removed unless it is renamed to `name`.
///
/// It is locked as long as it is open, by which other writers tell it from one whose process is gone.
fn temporary(folder: &Path, name: &OsStr) -> io::Result<NamedTempFile> {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    remove_leftovers(folder, &prefix);
    loop {
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(RANDOM)
            .suffix(UNFINISHED)
            // the umask takes its part away
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        // a file system without locks keeps leftovers: nobody can lock them either
        let locked = !matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        // before it was locked, another writer may have taken it for a leftover
        if locked && file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Removes the temporary files of writers that are gone, as far as that is possible.
fn remove_leftovers(folder: &Path, prefix: &OsStr) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name.as_bytes().strip_prefix(prefix.as_bytes());
        let random = random.and_then(|rest| rest.strip_suffix(UNFINISHED.as_bytes()));
        if random.is_none_or(|random| random.len() != RANDOM) {
            continue;
        }
        if File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A new name is safe only when its folder is on the disk too.
fn sync_folder(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // file systems that know no such thing, folders that may be written but not read
        Err(err) if [InvalidInput, PermissionDenied, Unsupported].contains(&err.kind()) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{symlink, FileTypeExt};

    /// Names in a folder.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_reader_sees_the_old_file_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write(&path, "old").unwrap();
        replace(&path, |file| {
            file.write_all(&[b'n'; 100_000])?;
            assert_eq!(fs::read(&path)?, b"old");
            file.write_all(b"ew")
        })
        .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 100_002);
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn an_error_or_a_panic_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write(&path, "old").unwrap();
        let full = replace(&path, |file| {
            file.write_all(&[0; 100_000])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let panicked = std::panic::catch_unwind(|| {
            replace(&path, |file| {
                file.write_all(&[0; 100_000])?;
                panic!("in the middle")
            })
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn leftovers_of_the_same_file_go_and_those_of_living_writers_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.txt"), dir.path().join("b.txt"));
        for name in [".a.txt.x1Y2z3.unfinished", ".b.txt.x1Y2z3.unfinished"] {
            fs::write(dir.path().join(name), "half").unwrap();
        }
        replace(&path, |file| {
            // a second writer of the same file, from beginning to end
            write(&path, "second").unwrap();
            assert_eq!(names(dir.path()).len(), 3);
            file.write_all(b"first")
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), [".b.txt.x1Y2z3.unfinished", "a.txt"]);
        write(&other, "b").unwrap();
        assert_eq!(names(dir.path()), ["a.txt", "b.txt"]);
    }

    #[test]
    fn permissions_are_those_of_any_new_file_or_of_the_replaced_one() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, others) = (dir.path().join("ours"), dir.path().join("others"));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode();
        write(&ours, "").unwrap();
        File::create(&others).unwrap();
        assert_eq!(mode(&ours), mode(&others));
        fs::set_permissions(&ours, Permissions::from_mode(0o640)).unwrap();
        write(&ours, "again").unwrap();
        assert_eq!(mode(&ours) & 0o777, 0o640);
    }

    #[test]
    fn links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let link = dir.path().join("link");
        // to another link, which points to a file that is not there yet
        symlink("folder/second", &link).unwrap();
        symlink("file", folder.join("second")).unwrap();
        for text in ["new", "replaced"] {
            write(&link, text).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), text);
        }
        assert_eq!(names(&folder), ["file", "second"]);

        let circle = dir.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(write(&circle, "").is_err());
    }

    #[test]
    fn devices_are_written_into_and_folders_refused() {
        let full = Path::new("/dev/full");
        let message = write(full, "x").unwrap_err().to_string();
        assert!(
            message.contains("/dev/full: cannot be written: No space left"),
            "{message}"
        );
        assert!(fs::metadata(full).unwrap().file_type().is_char_device());
        let dir = tempfile::tempdir().unwrap();
        for folder in [dir.path(), Path::new("/"), Path::new("..")] {
            let message = write(folder, "x").unwrap_err().to_string();
            assert!(message.contains("give a file name"), "{message}");
        }
        assert!(write("", "x").is_err());
        assert!(names(dir.path()).is_empty());
    }

    #[cfg(feature = "program")]
    #[test]
    fn a_finished_file_is_moved_and_lines_are_added() {
        let dir = tempfile::tempdir().unwrap();
        let (part, path) = (dir.path().join("a.part"), dir.path().join("a"));
        fs::write(&part, "one\n").unwrap();
        move_into_place(&part, &path).unwrap();
        open_to_append(&path).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(names(dir.path()), ["a"]);
        let message = move_into_place(&part, &path).unwrap_err().to_string();
        assert!(message.contains("cannot be written"), "{message}");
    }
}
