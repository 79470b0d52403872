//! What the archives of PyTorch and tch mean: one pickle, and one entry for each storage.
//!
//! ```text
//! NAME/data.pkl      the object, its tensors as views of storages
//! NAME/data/KEY      the numbers of storage KEY
//! NAME/byteorder     little or big
//! NAME/constants.pkl only in TorchScript;  NAME/extra/inverse_flow.json  our configuration, if we wrote it
//! ```

use super::found::{shorten, Found};
use super::pickle::{self, Objects, Storage};
use super::stored::{Contents, Dictionary, Region};
use super::zip::Archive;
use super::{exported, Format, Problem, CONFIG_ATTRIBUTE, MAX_DESCRIPTION};
use crate::words::counted;
use std::collections::HashMap;
use std::fs::File;

/// Entry with our configuration.
const CONFIG: &str = "extra/inverse_flow.json";
/// Entries that are named where there is nothing to read.
const NAMED: usize = 5;

/// Reads an archive of `length` bytes.
pub(super) fn read(file: &File, length: u64) -> Result<Contents, Problem> {
    let archive = Archive::open(file, length)?;
    if let Some(root) = exported::root(&archive) {
        return exported::read(&archive, &root);
    }
    let mut roots = archive.names().filter_map(|name| {
        let root = name.strip_suffix("data.pkl")?;
        (root.is_empty() || root.find('/') == Some(root.len() - 1)).then(|| root.to_owned())
    });
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err(other(&archive));
    };
    let at = |name: &str| format!("{root}{name}");
    let pickle = archive.content(&at("data.pkl"), length)?;
    let pickle = pickle.unwrap_or_default();
    let (objects, _) = pickle::read(&pickle).map_err(|failure| failure.problem)?;
    let big_endian = match archive.content(&at("byteorder"), 16)?.as_deref() {
        None | Some(b"little") => false,
        Some(b"big") => true,
        Some(_) => return Err("has an unknown byte order".into()),
    };
    let is_script = archive.names().any(|name| name == at("constants.pkl"));
    let mut contents = Contents::new(Format::StateDict);
    let mut found = match is_script {
        true => Found::script(&objects, CONFIG_ATTRIBUTE)?,
        false => Found::saved(&objects),
    };
    if is_script {
        contents.format = script_format(&mut found);
    }
    // who saves a program of ours again in Python keeps its attributes alone
    if let Some(json) = archive.content(&at(CONFIG), MAX_DESCRIPTION)? {
        contents.metadata = read_config(&json)?;
    } else if let Some(json) = found.config {
        contents.metadata = read_config(json.as_bytes())?;
    }
    let mut storages = Storages {
        archive: &archive,
        root: &root,
        big_endian,
        regions: Vec::new(),
        known: HashMap::new(),
    };
    let dictionaries = std::mem::take(&mut found.dictionaries);
    for named in dictionaries {
        let region = |view: &pickle::View| storages.region(storage(&objects, view)?);
        let dictionary = Dictionary::of(named, region);
        contents.dictionaries.push(dictionary);
    }
    contents.regions = storages.regions;
    found.finish(&mut contents);
    Ok(contents)
}

/// The storage that a tensor is a view of.
pub(super) fn storage<'a, 'o>(
    objects: &'o Objects<'a>,
    view: &pickle::View,
) -> Result<&'o Storage<'a>, Problem> {
    match objects.get(view.storage) {
        pickle::Node::Storage(storage) => Ok(storage),
        _ => Err("has no storage".into()),
    }
}

/// What a zip archive is that PyTorch did not write.
fn other(archive: &Archive<'_>) -> Problem {
    let names: Vec<_> = archive.names().collect();
    let any = |end: &str| names.iter().any(|name| name.ends_with(end));
    if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) {
        return "is an archive of NumPy arrays (.npz): save them as tensors, torch.save({name: torch.from_numpy(array) ...}, FILE); images are read by `inverse-flow data inspect FILE`".into();
    }
    if any("model.weights.h5") {
        return "is a model of Keras: read it there, and save a dictionary of tensors with torch.save(DICTIONARY, FILE)".into();
    }
    let listed: Vec<_> = names.iter().take(NAMED).map(|name| shorten(name)).collect();
    let more = match names.len() > NAMED {
        true => ", ...",
        false => "",
    };
    let inside = [".pt", ".pth", ".safetensors", ".ckpt", ".tar", ".ot"];
    let help = match inside.iter().any(|end| any(end)) {
        true => ": unpack it first, `unzip FILE`",
        false => "",
    };
    format!(
        "is a zip archive, but not one of PyTorch: it does not have exactly one `data.pkl`; it holds {}{more}{help}",
        match listed.is_empty() {
            true => "nothing".to_owned(),
            false => listed.join(", "),
        }
    )
}

/// Where the storages of an archive lie.
struct Storages<'a> {
    archive: &'a Archive<'a>,
    root: &'a str,
    big_endian: bool,
    regions: Vec<Region>,
    known: HashMap<String, Result<usize, Problem>>,
}

impl Storages<'_> {
    /// The region of a storage, and its bytes.
    fn region(&mut self, storage: &Storage<'_>) -> Result<(usize, u64), Problem> {
        let region = match self.known.get(storage.key) {
            Some(region) => region.clone(),
            None => {
                let name = format!("{}data/{}", self.root, storage.key);
                let place = self.archive.place(&name);
                let place = place
                    .and_then(|place| place.ok_or_else(|| "has no storage in the archive".into()));
                let region = place.map(|place| {
                    self.regions.push(place.region(self.big_endian));
                    self.regions.len() - 1
                });
                self.known.insert(storage.key.to_owned(), region.clone());
                region
            }
        };
        let region = region?;
        let length = self.regions[region].length;
        let bytes = storage.dtype.map_or(1, |dtype| dtype.bytes);
        if storage.numbers.checked_mul(bytes) != Some(length) {
            return Err(format!(
                "has a storage of {} for {} of {}: the file is damaged, use another copy",
                counted(length, "byte"),
                counted(storage.numbers, "number"),
                counted(bytes, "byte")
            ));
        }
        Ok((region, length))
    }
}

fn read_config(json: &[u8]) -> Result<HashMap<String, String>, Problem> {
    let json: serde_json::Map<_, _> =
        serde_json::from_slice(json).map_err(|err| format!("`{CONFIG}`: {err}"))?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(json
        .into_iter()
        .map(|(key, value)| (key, text(value)))
        .collect())
}

/// tch writes a variable store as a module without submodules, its names with `|` for `.`.
fn script_format(found: &mut Found<'_, '_>) -> Format {
    let is_plain = found.root_class() == Some(("__torch__", "Module"));
    let Some(named) = found.dictionaries.first_mut() else {
        return Format::TorchScript;
    };
    let flat = named.tensors.keys().all(|name| !name.contains('.'));
    let barred = named.tensors.keys().any(|name| name.contains('|'));
    if !flat || !(barred || is_plain) {
        return Format::TorchScript;
    }
    let tensors = std::mem::take(&mut named.tensors).into_iter();
    named.tensors = tensors
        .map(|(name, view)| (name.replace('|', "."), view))
        .collect();
    Format::Ot
}
