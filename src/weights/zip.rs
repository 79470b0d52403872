//! The directory of a zip archive, with 64-bit sizes; entries that are stored, as PyTorch writes tensors.
//!
//! Nothing is ever unpacked, so an archive takes no more memory than its directory says, and that is bounded.

use super::stored::Region;
use super::{Problem, MAX_DESCRIPTION};
use crate::words::counted;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_BYTES: usize = 56;
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_BYTES: u64 = 20;
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const CENTRAL_BYTES: usize = 46;
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_BYTES: u64 = 30;
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;

/// An entry as the central directory describes it.
#[derive(Debug, Clone)]
struct Entry {
    header: u64,
    length: u64,
    crc: u32,
    stored: bool,
}

/// Where the bytes of a stored entry lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub start: u64,
    pub length: u64,
    pub crc: u32,
}

impl Place {
    /// The same as a region of numbers.
    pub(super) fn region(self, big_endian: bool) -> Region {
        Region {
            start: self.start,
            length: self.length,
            crc: Some(self.crc),
            big_endian,
        }
    }
}

/// The entries of an archive by name.
pub(super) struct Archive<'a> {
    file: &'a File,
    /// Where the central directory begins; every entry ends before it.
    end: u64,
    entries: BTreeMap<String, Entry>,
}

impl<'a> Archive<'a> {
    /// Reads the central directory of a file of `length` bytes.
    pub(super) fn open(file: &'a File, length: u64) -> Result<Self, Problem> {
        let Directory { start, size, count } = find_directory(file, length)?;
        if size > MAX_DESCRIPTION {
            return Err(format!(
                "its directory has {}, and at most {MAX_DESCRIPTION} are read",
                counted(size, "byte")
            ));
        }
        let bytes = read(file, start, size as usize)?;
        let mut entries = BTreeMap::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (name, entry, after) = entry(rest)?;
            if entries.insert(name.to_owned(), entry).is_some() {
                return Err(format!("is damaged: it has two entries `{name}`"));
            }
            rest = after;
        }
        if entries.len() as u64 != count {
            let got = entries.len();
            return Err(damaged(&format!("entries: {got}, expected {count}")));
        }
        Ok(Self {
            file,
            end: start,
            entries,
        })
    }

    /// The names of all entries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Where an entry lies, its local header compared with the directory; `None` if there is no such entry.
    pub(super) fn place(&self, name: &str) -> Result<Option<Place>, Problem> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        if !entry.stored {
            return Err(format!(
                "`{name}` is compressed, which PyTorch does not do to tensors: save the file again with torch.save"
            ));
        }
        if entry.header > self.end {
            return Err(damaged(&format!("`{name}` begins after the entries")));
        }
        let header = read(self.file, entry.header, LOCAL_BYTES as usize)?;
        let names = u64::from(u16_at(&header, 26));
        let start = entry.header + LOCAL_BYTES + names + u64::from(u16_at(&header, 28));
        if header[..4] != LOCAL || names != name.len() as u64 {
            return Err(damaged(&format!("`{name}` is not where it should be")));
        }
        let fits = start
            .checked_add(entry.length)
            .is_some_and(|end| end <= self.end);
        if !fits || read(self.file, entry.header + LOCAL_BYTES, name.len())? != name.as_bytes() {
            return Err(damaged(&format!("`{name}` is not where it should be")));
        }
        Ok(Some(Place {
            start,
            length: entry.length,
            crc: entry.crc,
        }))
    }

    /// The content of an entry of at most `limit` bytes, its checksum compared; `None` if there is no such entry.
    pub(super) fn content(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Problem> {
        let Some(place) = self.place(name)? else {
            return Ok(None);
        };
        if place.length > limit {
            return Err(format!(
                "`{name}` has {}, and at most {limit} are read",
                counted(place.length, "byte")
            ));
        }
        let bytes = read(self.file, place.start, place.length as usize)?;
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        if crc.sum() != place.crc {
            return Err(damaged(&format!("the checksum of `{name}` does not match")));
        }
        Ok(Some(bytes))
    }
}

struct Directory {
    start: u64,
    size: u64,
    count: u64,
}

fn find_directory(file: &File, length: u64) -> Result<Directory, Problem> {
    let tail_bytes = length.min((END_BYTES + usize::from(u16::MAX)) as u64) as usize;
    let tail = read(file, length - tail_bytes as u64, tail_bytes)?;
    // the record ends with a comment of its own length, so it is the one that ends where the file does
    let at = (0..=tail_bytes.saturating_sub(END_BYTES))
        .rev()
        .find(|&at| {
            tail.get(at..at + END_BYTES).is_some_and(|record| {
                record[..4] == END && at + END_BYTES + usize::from(u16_at(record, 20)) == tail_bytes
            })
        });
    let Some(at) = at else {
        return Err(damaged(&"no directory at its end"));
    };
    let record = &tail[at..];
    let mut directory = Directory {
        count: u64::from(u16_at(record, 10)),
        size: u64::from(u32_at(record, 12)),
        start: u64::from(u32_at(record, 16)),
    };
    let mut end = length - (tail_bytes - at) as u64;
    let is_64 = directory.count == u64::from(u16::MAX)
        || directory.size == u64::from(u32::MAX)
        || directory.start == u64::from(u32::MAX);
    if is_64 {
        let failed = || damaged(&"no directory at its end");
        let locator_at = end.checked_sub(LOCATOR_BYTES).ok_or_else(failed)?;
        let locator = read(file, locator_at, LOCATOR_BYTES as usize)?;
        end = u64_at(&locator, 8);
        if locator[..4] != LOCATOR || end > locator_at {
            return Err(failed());
        }
        let record = read(file, end, END_64_BYTES)?;
        if record[..4] != END_64 {
            return Err(failed());
        }
        directory = Directory {
            count: u64_at(&record, 32),
            size: u64_at(&record, 40),
            start: u64_at(&record, 48),
        };
    }
    let fits = directory.start.checked_add(directory.size);
    if fits.is_none_or(|fits| fits > end) {
        return Err(damaged(&"its directory is longer than the file"));
    }
    Ok(directory)
}

/// The first entry of a part of the central directory, its name, and what comes after it.
fn entry(bytes: &[u8]) -> Result<(&str, Entry, &[u8]), Problem> {
    let cut = || damaged(&"its directory is cut off");
    let (fixed, rest) = bytes.split_at_checked(CENTRAL_BYTES).ok_or_else(cut)?;
    if fixed[..4] != CENTRAL {
        return Err(damaged(&"its directory is not one"));
    }
    let size = |at| usize::from(u16_at(fixed, at));
    let (name, rest) = rest.split_at_checked(size(28)).ok_or_else(cut)?;
    let (extra, rest) = rest.split_at_checked(size(30)).ok_or_else(cut)?;
    let (_, rest) = rest.split_at_checked(size(32)).ok_or_else(cut)?;
    let name = std::str::from_utf8(name).map_err(|err| damaged(&err))?;
    let mut sizes = [
        u64::from(u32_at(fixed, 24)), // as it is unpacked
        u64::from(u32_at(fixed, 20)), // as it lies in the file
        u64::from(u32_at(fixed, 42)), // where
    ];
    if sizes.contains(&u64::from(u32::MAX)) {
        read_64(extra, &mut sizes).ok_or_else(cut)?;
    }
    let [length, packed, header] = sizes;
    let stored = u16_at(fixed, 10) == STORED && u16_at(fixed, 8) & ENCRYPTED == 0;
    if stored && packed != length {
        return Err(damaged(&format!("`{name}` has two lengths")));
    }
    let entry = Entry {
        header,
        length,
        crc: u32_at(fixed, 16),
        stored,
    };
    Ok((name, entry, rest))
}

/// Replaces the sizes that are too large for 32 bits by those of the extra field 1.
fn read_64(mut extra: &[u8], sizes: &mut [u64; 3]) -> Option<()> {
    loop {
        let (head, rest) = extra.split_at_checked(4)?;
        let (mut field, rest) = rest.split_at_checked(usize::from(u16_at(head, 2)))?;
        extra = rest;
        if u16_at(head, 0) != 1 {
            continue;
        }
        for size in sizes
            .iter_mut()
            .filter(|size| **size == u64::from(u32::MAX))
        {
            let (number, rest) = field.split_at_checked(8)?;
            *size = u64_at(number, 0);
            field = rest;
        }
        return Some(());
    }
}

fn read(file: &File, at: u64, length: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(bytes),
        Err(err) => Err(damaged(&err)),
    }
}

fn damaged(err: &dyn std::fmt::Display) -> Problem {
    format!("not a whole archive of PyTorch ({err}): use another copy")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
