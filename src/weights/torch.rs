//! What the archives of PyTorch and tch mean: one pickle, and one entry for each storage.
//!
//! ```text
//! NAME/data.pkl      the object, its tensors as views of storages
//! NAME/data/KEY      the numbers of storage KEY
//! NAME/byteorder     little or big
//! NAME/constants.pkl only in TorchScript;  NAME/extra/inverse_flow.json  our configuration, if we wrote it
//! ```

use super::pickle::{self, Id, Node, Objects, View};
use super::stored::{Contents, Region, Stored};
use super::zip::Archive;
use super::{Format, Problem, MAX_DESCRIPTION, MAX_NAMES, MAX_TENSORS};
use crate::words::counted;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;

/// Keys under which training programs keep a state dictionary, the likeliest first.
const STATE_KEYS: [&str; 7] = [
    "model_state_dict",
    "state_dict",
    "model_state",
    "model",
    "net",
    "module",
    "weights",
];
/// Entry of a TorchScript archive with our configuration.
const CONFIG: &str = "extra/inverse_flow.json";
/// Modules inside modules.
const MAX_DEPTH: usize = 64;
/// Attributes that are looked at, each as often as it can be reached.
const MAX_VISITS: usize = 1 << 20;
/// Things that are not read and named all the same.
const MAX_LEFT_OUT: usize = 20;

/// Reads an archive of `length` bytes.
pub(super) fn read(file: &File, length: u64) -> Result<Contents, Problem> {
    let archive = Archive::open(file, length)?;
    let mut roots = archive.names().filter_map(|name| {
        let root = name.strip_suffix("data.pkl")?;
        (root.is_empty() || root.find('/') == Some(root.len() - 1)).then(|| root.to_owned())
    });
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err(
            "is a zip archive, but not one of PyTorch: it does not have exactly one `data.pkl`"
                .into(),
        );
    };
    let at = |name: &str| format!("{root}{name}");
    let pickle = archive.content(&at("data.pkl"), MAX_DESCRIPTION)?;
    let objects = pickle::read(pickle.as_deref().unwrap_or_default())?;
    let big_endian = match archive.content(&at("byteorder"), 16)?.as_deref() {
        None | Some(b"little") => false,
        Some(b"big") => true,
        Some(_) => return Err("has an unknown byte order".into()),
    };
    let is_script = archive.names().any(|name| name == at("constants.pkl"));
    let mut found = Found {
        objects: &objects,
        views: BTreeMap::new(),
        left_out: Vec::new(),
        visits: 0,
        bytes: 0,
    };
    let mut metadata = HashMap::new();
    let format = if is_script {
        found.module("", objects.root, 0)?;
        if let Some(json) = archive.content(&at(CONFIG), MAX_DESCRIPTION)? {
            metadata = read_config(&json)?;
        }
        found.script_format()
    } else {
        found.saved()?
    };
    let Found {
        views,
        mut left_out,
        ..
    } = found;
    let (mut tensors, mut regions, mut known) = (BTreeMap::new(), Vec::new(), HashMap::new());
    for (name, view) in views {
        let named = |problem: Problem| format!("`{name}` {problem}");
        let Node::Storage(storage) = objects.get(view.storage) else {
            return Err(named("has no storage".into()));
        };
        let region = match known.get(storage.key) {
            Some(region) => *region,
            None => {
                let place = archive.place(&at(&format!("data/{}", storage.key)))?;
                let place = place.ok_or_else(|| named("has no storage in the archive".into()))?;
                regions.push(Region {
                    start: place.start,
                    length: place.length,
                    crc: Some(place.crc),
                    big_endian,
                });
                known.insert(storage.key, regions.len() - 1);
                regions.len() - 1
            }
        };
        let bytes = storage.dtype.map_or(1, |dtype| dtype.bytes);
        let length = regions[region].length;
        if storage.numbers.checked_mul(bytes) != Some(length) {
            return Err(named(format!(
                "has a storage of {} for {} of {}",
                counted(length, "byte"),
                counted(storage.numbers, "number"),
                counted(bytes, "byte")
            )));
        }
        let numbers = (region, length / view.dtype.bytes);
        let [shape, strides] = [&view.shape, &view.strides].map(Vec::clone);
        let stored = Stored::strided(view.dtype, [shape, strides], view.offset, numbers);
        let stored = stored.map_err(named)?;
        tensors.insert(name, stored);
    }
    left_out.extend(strangers(&objects));
    left_out.sort();
    left_out.dedup();
    left_out.truncate(MAX_LEFT_OUT);
    Ok(Contents {
        format,
        tensors,
        regions,
        metadata,
        left_out,
    })
}

/// The functions that the pickle calls and that nobody here knows.
fn strangers(objects: &Objects<'_>) -> Vec<String> {
    let known = |module: &str| {
        [
            "torch",
            "torch._utils",
            "collections",
            "torch.storage",
            "torch.jit._pickle",
        ]
        .contains(&module)
            || module.starts_with("__torch__")
    };
    let mut names: Vec<_> = objects
        .globals()
        .filter(|(module, _)| !known(module))
        .take(MAX_LEFT_OUT)
        .map(|(module, name)| shorten(&format!("{module}.{name}")))
        .collect();
    names.dedup();
    names
}

/// A text that is not longer than a message should be.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
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

/// The tensors of a pickle by name, as they are found.
struct Found<'a, 'o> {
    objects: &'o Objects<'a>,
    views: BTreeMap<String, &'o View>,
    left_out: Vec<String>,
    visits: usize,
    bytes: usize,
}

impl<'a, 'o> Found<'a, 'o> {
    fn add(&mut self, name: String, view: &'o View) -> Result<(), Problem> {
        self.bytes += name.len();
        if self.views.len() >= MAX_TENSORS || self.bytes > MAX_NAMES {
            return Err(format!(
                "has more than {MAX_TENSORS} tensors, or names without end"
            ));
        }
        if self.views.contains_key(&name) {
            return Err(format!("has two tensors `{}`", shorten(&name)));
        }
        self.views.insert(name, view);
        Ok(())
    }

    /// Whether an object is a tensor, one that can be read or not.
    fn is_tensor(&self, id: Id) -> bool {
        match self.objects.get(id) {
            Node::Tensor(_) => true,
            Node::Opaque(_) => self.objects.global(id).is_some_and(|(module, name)| {
                module == "torch._utils" && name.starts_with("_rebuild")
            }),
            _ => false,
        }
    }

    fn leave_out(&mut self, key: &str, value: Id) {
        if self.left_out.len() < MAX_LEFT_OUT {
            let what = self.objects.describe(value);
            self.left_out.push(shorten(&format!("{key}: {what}")));
        }
    }

    /// The tensors among the attributes of a TorchScript module and of its submodules.
    fn module(&mut self, prefix: &str, module: Id, depth: usize) -> Result<(), Problem> {
        if depth > MAX_DEPTH {
            return Err(format!("has modules nested more than {MAX_DEPTH} deep"));
        }
        let state = match self.objects.get(module) {
            Node::Object { state: None, .. } => return Ok(()),
            Node::Object {
                state: Some(state), ..
            } => self.objects.get(*state),
            _ => {
                let what = self.objects.describe(module);
                return Err(format!(
                    "is a TorchScript archive of {what}, not of a module"
                ));
            }
        };
        let Node::Dict(attributes) = state else {
            return Err("has a module without attributes".into());
        };
        for &(key, value) in attributes {
            self.visits += 1;
            if self.visits > MAX_VISITS {
                return Err("has modules without end".into());
            }
            let Some(key) = self.objects.text(key) else {
                return Err("has an attribute without a name".into());
            };
            let name = || match prefix {
                "" => key.to_owned(),
                _ => format!("{prefix}.{key}"),
            };
            match self.objects.get(value) {
                Node::Tensor(view) => self.add(name(), view)?,
                Node::Object { .. } => self.module(&name(), value, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// tch writes a variable store as a module without submodules, its names with `|` for `.`.
    fn script_format(&mut self) -> Format {
        let class = match self.objects.get(self.objects.root) {
            Node::Object { class, .. } => self.objects.global(*class),
            _ => None,
        };
        let flat = self.views.keys().all(|name| !name.contains('.'));
        let barred = self.views.keys().any(|name| name.contains('|'));
        if !flat || !(barred || class == Some(("__torch__", "Module"))) {
            return Format::TorchScript;
        }
        let views = std::mem::take(&mut self.views);
        let renamed = views
            .into_iter()
            .map(|(name, view)| (name.replace('|', "."), view));
        self.views = renamed.collect();
        Format::Ot
    }

    /// The state dictionary in what `torch.save` wrote.
    fn saved(&mut self) -> Result<Format, Problem> {
        let root = self.objects.root;
        let Node::Dict(items) = self.objects.get(root) else {
            return Err(self.no_dictionary(root));
        };
        if items.iter().any(|&(_, value)| self.is_tensor(value)) {
            self.dictionary(root)?;
            return Ok(Format::StateDict);
        }
        let named: Vec<(&str, Id)> = items
            .iter()
            .filter_map(|&(key, value)| Some((self.objects.text(key)?, value)))
            .collect();
        let is_state = |id: Id| match self.objects.get(id) {
            Node::Dict(items) => items.iter().any(|&(_, value)| self.is_tensor(value)),
            _ => false,
        };
        let likely = STATE_KEYS.iter().find_map(|key| {
            named
                .iter()
                .find(|(name, value)| name == key && is_state(*value))
        });
        let mut others = named
            .iter()
            .filter(|(name, value)| !name.contains("optim") && is_state(*value));
        let (key, state) = match (likely, others.next(), others.next()) {
            (Some(likely), ..) => *likely,
            (None, Some(only), None) => *only,
            (None, None, _) => {
                let keys: Vec<_> = named.iter().take(MAX_LEFT_OUT).map(|(key, _)| shorten(key)).collect();
                return Err(match keys.is_empty() {
                    true => "holds an empty dictionary: no tensors to read".into(),
                    false => format!(
                        "holds no state dictionary: no tensors under {}; expected the dictionary itself, or one under `{}`",
                        keys.join(", "),
                        STATE_KEYS[0]
                    ),
                });
            }
            (None, Some((a, _)), Some((b, _))) => {
                return Err(format!(
                    "holds several state dictionaries, `{}` and `{}` among them: save the model's alone, torch.save(model.state_dict(), FILE)",
                    shorten(a),
                    shorten(b)
                ))
            }
        };
        for &(other, value) in named.iter().filter(|(name, _)| *name != key) {
            self.leave_out(other, value);
        }
        self.dictionary(state)?;
        Ok(Format::Checkpoint)
    }

    fn dictionary(&mut self, dictionary: Id) -> Result<(), Problem> {
        let Node::Dict(items) = self.objects.get(dictionary) else {
            return Ok(());
        };
        for &(key, value) in items {
            let Some(name) = self.objects.text(key) else {
                if self.is_tensor(value) {
                    return Err("has a tensor without a name: the key is no text".into());
                }
                continue;
            };
            match self.objects.get(value) {
                Node::Tensor(view) => self.add(name.to_owned(), view)?,
                // a tensor that cannot be read must not pass for one that is not there
                _ if self.is_tensor(value) => {
                    return Err(format!(
                        "`{}` is {}, which is not read: dense tensors of plain numbers are",
                        shorten(name),
                        shorten(&self.objects.describe(value))
                    ))
                }
                _ => self.leave_out(name, value),
            }
        }
        Ok(())
    }

    fn no_dictionary(&self, root: Id) -> Problem {
        let what = shorten(&self.objects.describe(root));
        match self.objects.get(root) {
            Node::Opaque(_) | Node::Object { .. } => format!(
                "is a pickled object of {what}, whose meaning is code; none was run. If it is a model, save its tensors: torch.save(model.state_dict(), FILE)"
            ),
            _ => format!("holds {what} and no dictionary of named tensors: torch.save(model.state_dict(), FILE) makes one"),
        }
    }
}
