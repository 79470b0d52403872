//! What `torch.save` wrote before PyTorch 1.6, and bare pickles.
//!
//! ```text
//! pickle   a number that says what this is
//! pickle   the version of the layout, 1001
//! pickle   about the machine that wrote it
//! pickle   the object, its tensors as views of storages
//! pickle   the keys of the storages, in the order in which they follow
//! for each storage: u64 how many numbers, then the numbers, little-endian
//! ```

use super::found::Found;
use super::pickle::{self, Node, Objects};
use super::stored::{Contents, Dictionary, Region};
use super::torch::storage;
use super::{Format, Problem, MAX_TENSORS};
use crate::words::counted;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes that are read to find the end of a pickle, and how many times more if it is not there.
const FIRST: usize = 1 << 16;
const GROWTH: usize = 8;
/// Pickles before the object.
const AHEAD: usize = 3;
/// Version of the layout.
const VERSION: i64 = 1001;

/// Reads a file of `length` bytes.
pub(super) fn read(file: &File, length: u64) -> Result<Contents, Problem> {
    let mut at = 0;
    for number in 0..AHEAD {
        let bytes = one(file, at, length)?;
        let (objects, size) = pickle::read(&bytes).map_err(|failure| failure.problem)?;
        if number == 1 && objects.int(objects.root) != Some(VERSION) {
            return Err(format!(
                "is of PyTorch's format before version 1.6, but not of its layout {VERSION}: use another copy"
            ));
        }
        at += size as u64;
    }
    let bytes = one(file, at, length)?;
    let (objects, size) = pickle::read(&bytes).map_err(|failure| failure.problem)?;
    at += size as u64;
    let keys_bytes = one(file, at, length)?;
    let (keys, size) = pickle::read(&keys_bytes).map_err(|failure| failure.problem)?;
    at += size as u64;
    let storages = places(file, at..length, &objects, &keys)?;

    let mut contents = Contents::new(Format::StateDict);
    let mut found = Found::saved(&objects);
    let mut known = HashMap::new();
    for named in std::mem::take(&mut found.dictionaries) {
        let region = |view: &pickle::View| {
            let storage = storage(&objects, view)?;
            let place = storages.get(storage.key);
            let region = match place {
                None => return Err("has no storage in the file".into()),
                Some(Err(problem)) => return Err(problem.clone()),
                Some(Ok(region)) => *region,
            };
            let at = *known.entry(storage.key).or_insert_with(|| {
                contents.regions.push(region);
                contents.regions.len() - 1
            });
            Ok((at, region.length))
        };
        let dictionary = Dictionary::of(named, region);
        contents.dictionaries.push(dictionary);
    }
    found.finish(&mut contents);
    Ok(contents)
}

/// Reads a bare pickle: its tensors have no numbers here, but can be named.
pub(super) fn read_pickle(file: &File, length: u64) -> Result<Contents, Problem> {
    const RESAVE: &str = "is a bare pickle, which is a program and not a table of tensors; none of it was run. Save it with torch.save(pickle.load(open(FILE, 'rb')), OUT)";
    let bytes = one(file, 0, length).map_err(|problem| format!("{RESAVE} ({problem})"))?;
    let (objects, _) =
        pickle::read(&bytes).map_err(|failure| format!("{RESAVE} ({})", failure.problem))?;
    let mut contents = Contents::new(Format::StateDict);
    let mut found = Found::saved(&objects);
    for named in std::mem::take(&mut found.dictionaries) {
        let none = |_: &pickle::View| Err("has no numbers in a bare pickle".into());
        contents.dictionaries.push(Dictionary::of(named, none));
    }
    found.finish(&mut contents);
    contents.nothing = Some(RESAVE.into());
    Ok(contents)
}

/// The bytes from `at` on that hold a whole pickle; more may follow in them.
fn one(file: &File, at: u64, length: u64) -> Result<Vec<u8>, Problem> {
    let left = length.saturating_sub(at);
    let mut size = FIRST;
    loop {
        let part = left.min(size as u64) as usize;
        let mut bytes = vec![0; part];
        file.read_exact_at(&mut bytes, at)
            .map_err(|err| err.to_string())?;
        match pickle::read(&bytes) {
            Err(failure) if failure.cut_off && (part as u64) < left => {
                size = size.saturating_mul(GROWTH)
            }
            Err(failure) => {
                return Err(format!(
                    "{} of the pickle at byte {at}: use another copy",
                    failure.problem
                ))
            }
            Ok((_, used)) => {
                bytes.truncate(used);
                return Ok(bytes);
            }
        }
    }
}

type Places<'a> = HashMap<&'a str, Result<Region, Problem>>;

/// Where the storages lie that follow in the order of `keys`.
fn places<'a>(
    file: &File,
    range: std::ops::Range<u64>,
    objects: &Objects<'a>,
    keys: &Objects<'a>,
) -> Result<Places<'a>, Problem> {
    let Node::List(list) = keys.get(keys.root) else {
        return Err("has no list of its storages: use another copy".into());
    };
    if list.items.len() > MAX_TENSORS {
        return Err(format!("has more than {MAX_TENSORS} storages"));
    }
    let sizes: HashMap<_, _> = objects
        .storages()
        .map(|storage| {
            let bytes = storage.dtype.map_or(1, |dtype| dtype.bytes);
            (storage.key, (bytes, storage.numbers))
        })
        .collect();
    let mut at = range.start;
    let mut places = HashMap::new();
    let mut lost = None;
    for &(_, key) in &list.items {
        let Some(key) = keys.text(key) else {
            return Err("has a storage without a key: use another copy".into());
        };
        let place = match &lost {
            Some(problem) => Err(Problem::clone(problem)),
            None => place(file, at, range.end, sizes.get(key).copied()),
        };
        match &place {
            Ok(region) => at = region.start + region.length,
            Err(problem) => lost = Some(problem.clone()),
        }
        places.insert(key, place);
    }
    Ok(places)
}

/// The storage at `at`, of numbers of so many bytes, as many as the object says.
fn place(file: &File, at: u64, end: u64, known: Option<(u64, u64)>) -> Result<Region, Problem> {
    let cut_off = || {
        format!("lies at byte {at} or behind, and the file ends at {end}: it is cut off, use another copy")
    };
    let mut head = [0; 8];
    if end.saturating_sub(at) < 8 {
        return Err(cut_off());
    }
    file.read_exact_at(&mut head, at)
        .map_err(|err| err.to_string())?;
    let numbers = u64::from_le_bytes(head);
    let Some((bytes, expected)) = known else {
        return Err(format!(
            "lies behind a storage at byte {at} that nothing describes: use another copy"
        ));
    };
    if numbers != expected {
        return Err(format!(
            "has a storage of {} at byte {at}, and the file speaks of {expected}: it is damaged, use another copy",
            counted(numbers, "number")
        ));
    }
    let start = at + 8;
    let length = numbers.checked_mul(bytes);
    match length {
        Some(length) if length <= end - start => Ok(Region {
            start,
            length,
            crc: None,
            big_endian: false,
        }),
        _ => Err(cut_off()),
    }
}
