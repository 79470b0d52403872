//! What lies in a file of weights, for `inspect`.

use crate::weights::{Dictionary, StateFile};
use crate::words::counted;
use serde_json::{json, Value};

/// Everything in a file, of whose tensors `verified` have the checksum that the file states.
pub fn json(file: &StateFile, verified: usize) -> Value {
    let tensors = |dictionary: &Dictionary| -> Vec<Value> {
        let tensors = dictionary.tensors.iter();
        tensors
            .map(|(name, stored)| {
                json!({"name": name, "shape": stored.shape, "dtype": stored.dtype.name})
            })
            .collect()
    };
    let unread = |dictionary: &Dictionary| -> Vec<Value> {
        let unread = dictionary.unread.iter();
        unread
            .map(|(name, reason)| json!({"name": name, "reason": reason}))
            .collect()
    };
    let dictionaries: Vec<_> = file
        .dictionaries()
        .iter()
        .map(|one| json!({"key": one.path, "tensors": tensors(one), "unread": unread(one)}))
        .collect();
    let first = file.dictionaries().first();
    json!({
        "file": file.path(),
        "format": file.format().to_string(),
        "key": first.map(|one| &one.path),
        "tensors": first.map(tensors).unwrap_or_default(),
        "unread": first.map(unread).unwrap_or_default(),
        "dictionaries": dictionaries,
        "left_out": file.left_out(),
        "nothing": file.nothing(),
        "checksums": verified,
    })
}

/// The same in lines.
pub fn text(file: &StateFile, verified: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let dictionaries = file.dictionaries();
    let has_places = dictionaries.len() > 1 || dictionaries.iter().any(|one| !one.path.is_empty());
    for dictionary in dictionaries {
        if has_places {
            let tensors = dictionary.tensors.len() + dictionary.unread.len();
            lines.push(format!(
                "{}: {}",
                dictionary.name(),
                counted(tensors, "tensor")
            ));
        }
        let names = dictionary.tensors.keys().chain(dictionary.unread.keys());
        let width = names.map(String::len).max().unwrap_or(0);
        for (name, stored) in &dictionary.tensors {
            let dtype = stored.dtype.name;
            lines.push(format!("{name:width$}  {dtype:9} {:?}", stored.shape));
        }
        for (name, reason) in &dictionary.unread {
            lines.push(format!("{name:width$}  not read: {reason}"));
        }
    }
    for other in file.left_out() {
        lines.push(format!("not read: {other}"));
    }
    let format = file.format();
    lines.push(match (file.nothing(), dictionaries) {
        (Some(nothing), _) => format!("{format}: {nothing}"),
        (None, [one]) => format!(
            "{format} with {}; it does not say which model they belong to: --preset P or --config F compares them",
            counted(one.tensors.len() + one.unread.len(), "tensor")
        ),
        (None, all) => format!(
            "{format} with {}; it does not say which model they belong to: --preset P or --config F takes the one that fits, --key chooses",
            counted(all.len(), "dictionary").replace("dictionarys", "dictionaries")
        ),
    });
    if verified > 0 {
        lines.push(format!(
            "checksums: {} as the file states",
            counted(verified, "tensor")
        ));
    }
    lines
        .into_iter()
        .map(|line| line.replace(char::is_control, "\u{fffd}"))
        .collect()
}
