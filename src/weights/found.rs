//! Every dictionary of tensors in what a pickle made, wherever it lies.
//!
//! A path is made of keys and numbers of items: `model_state_dict`, `models.0.net`; the object itself has none. Whole
//! modules that were pickled count as the dictionary that their `state_dict()` would give. The states of optimisers,
//! which are dictionaries with `state` and `param_groups`, are no models.

use super::pickle::{is_script, Id, Node, Objects, View};
use super::stored::{Contents, Dictionary, Stored};
use super::{Format, Problem, MAX_DICTIONARIES, MAX_NAMES, MAX_TENSORS};
use crate::words::counted;
use std::collections::{BTreeMap, HashSet};

/// Containers inside containers.
pub(super) const MAX_DEPTH: usize = 64;
/// Things that are not read and named all the same.
pub(super) const MAX_LEFT_OUT: usize = 20;

/// A dictionary of tensors, as views of storages.
#[derive(Default)]
pub(super) struct Named<'o> {
    pub path: String,
    pub tensors: BTreeMap<String, &'o View>,
    /// Why the others are not read.
    pub unread: BTreeMap<String, String>,
}

/// What was found in the objects of a pickle.
pub(super) struct Found<'a, 'o> {
    pub objects: &'o Objects<'a>,
    pub dictionaries: Vec<Named<'o>>,
    pub left_out: Vec<String>,
    /// The configuration that a program of ours carries as an attribute.
    pub config: Option<&'a str>,
    seen: HashSet<Id>,
    pub tensors: usize,
    bytes: usize,
}

/// A text that is not longer than a message should be.
pub(super) fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

pub(super) fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

impl<'a, 'o> Found<'a, 'o> {
    /// Looks through what `torch.save` wrote.
    pub(super) fn saved(objects: &'o Objects<'a>) -> Self {
        let mut found = Self::new(objects);
        found.walk("", objects.root, 0);
        found.strangers();
        found
    }

    /// Looks through the module that `torch.jit.save` wrote.
    pub(super) fn script(objects: &'o Objects<'a>, attribute: &str) -> Result<Self, Problem> {
        let mut found = Self::new(objects);
        let Node::Object(root) = objects.get(objects.root) else {
            let what = objects.describe(objects.root);
            return Err(format!(
                "is a TorchScript archive of {what}, not of a module"
            ));
        };
        if let Some(Node::Dict(pairs)) = root.state.map(|state| objects.get(state)) {
            let config = pairs
                .iter()
                .find(|(key, _)| objects.text(*key) == Some(attribute));
            found.config = config.and_then(|&(_, value)| objects.text(value));
        }
        let mut named = Named::default();
        found.attributes(&mut named, "", objects.root, 0)?;
        found.dictionaries.push(named);
        found.strangers();
        Ok(found)
    }

    fn new(objects: &'o Objects<'a>) -> Self {
        Self {
            objects,
            dictionaries: Vec::new(),
            left_out: Vec::new(),
            config: None,
            seen: HashSet::new(),
            tensors: 0,
            bytes: 0,
        }
    }

    /// Takes a tensor into a dictionary, unless there are too many.
    pub(super) fn add(
        &mut self,
        named: &mut Named<'o>,
        name: String,
        value: Id,
    ) -> Result<(), Problem> {
        self.tensors += 1;
        self.bytes += name.len();
        if self.tensors > MAX_TENSORS || self.bytes > MAX_NAMES {
            return Err(format!(
                "has more than {MAX_TENSORS} tensors, or names without end"
            ));
        }
        match self.objects.get(value) {
            Node::Tensor(view) => drop(named.tensors.insert(name, view)),
            Node::Unread(unread) => {
                let shape = unread.shape.as_ref();
                let shape = shape.map_or(String::new(), |shape| format!(" (sizes {shape:?})"));
                let reason = format!("{}{shape}", shorten(&unread.reason));
                named.unread.insert(name, reason);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_tensor(&self, id: Id) -> bool {
        matches!(self.objects.get(id), Node::Tensor(_) | Node::Unread(_))
    }

    pub(super) fn leave_out(&mut self, path: &str, what: &str) {
        if self.left_out.len() < MAX_LEFT_OUT {
            self.left_out.push(match path {
                "" => shorten(what),
                _ => format!("{}: {}", shorten(path), shorten(what)),
            });
        }
    }

    /// Looks for dictionaries in an object; what holds none is left out under its own name.
    fn walk(&mut self, path: &str, id: Id, depth: usize) {
        if self.is_tensor(id) {
            let what = self.objects.describe(id);
            return self.leave_out(path, &format!("{what} without a name"));
        }
        if self.is_container(id) && !self.seen.insert(id) {
            // it lies in two places, and has been listed at the first
            return;
        }
        let (dictionaries, left_out) = (self.dictionaries.len(), self.left_out.len());
        if depth < MAX_DEPTH {
            self.inside(path, id, depth);
        }
        if self.dictionaries.len() == dictionaries && !path.is_empty() {
            self.left_out.truncate(left_out);
            let what = self.describe(id);
            self.leave_out(path, &what);
        }
    }

    fn describe(&self, id: Id) -> String {
        let is_tensor = |&(_, item): &(u32, Id)| self.is_tensor(item);
        match self.objects.get(id) {
            Node::List(list) if list.items.iter().any(is_tensor) => {
                let tensors = list.items.iter().filter(|item| is_tensor(item)).count();
                format!("a list of {} without names", counted(tensors, "tensor"))
            }
            Node::Dict(pairs) if self.is_optimizer(pairs) => "the state of an optimiser".into(),
            _ => self.objects.describe(id),
        }
    }

    fn inside(&mut self, path: &str, id: Id, depth: usize) {
        let objects = self.objects;
        match objects.get(id) {
            Node::Dict(pairs) => self.dictionary(path, pairs, depth),
            Node::List(list) => self.items(path, &list.items, depth),
            Node::Tuple(items) => {
                for (at, &item) in items.iter().enumerate() {
                    self.item(path, at, item, depth);
                }
            }
            Node::Object(object) => {
                if let Some(state) = object.state {
                    if self.is_module(state) {
                        return self.whole_module(path, id);
                    }
                    self.within(path, state, depth);
                }
                self.dictionary(path, &object.pairs, depth);
                self.items(path, &object.list.items, depth);
                if let Some(Node::Tuple(arguments)) = object.arguments.map(|id| objects.get(id)) {
                    for &argument in arguments {
                        self.within(path, argument, depth);
                    }
                }
            }
            _ => {}
        }
    }

    /// What an object consists of, under the object's own name; other things it was given say nothing.
    fn within(&mut self, path: &str, id: Id, depth: usize) {
        if self.is_container(id) && depth < MAX_DEPTH && self.seen.insert(id) {
            self.inside(path, id, depth + 1);
        }
    }

    fn items(&mut self, path: &str, items: &[(u32, Id)], depth: usize) {
        for &(at, item) in items {
            self.item(path, at, item, depth);
        }
    }

    /// Looks into the item at a place, unless there is nothing to say of it.
    fn item(&mut self, path: &str, at: impl std::fmt::Display, item: Id, depth: usize) {
        let is_new = self.is_container(item) && !self.seen.contains(&item);
        if is_new || (!self.is_container(item) && self.left_out.len() < MAX_LEFT_OUT) {
            self.walk(&join(path, &at.to_string()), item, depth + 1);
        }
    }

    fn is_container(&self, id: Id) -> bool {
        matches!(
            self.objects.get(id),
            Node::Dict(_) | Node::List(_) | Node::Tuple(_) | Node::Object(_)
        )
    }

    fn is_optimizer(&self, pairs: &[(Id, Id)]) -> bool {
        let has = |name| {
            pairs
                .iter()
                .any(|&(key, _)| self.objects.text(key) == Some(name))
        };
        has("state") && has("param_groups")
    }

    fn dictionary(&mut self, path: &str, pairs: &[(Id, Id)], depth: usize) {
        if self.is_optimizer(pairs) {
            return;
        }
        let objects = self.objects;
        let mut named = Named {
            path: path.to_owned(),
            ..Named::default()
        };
        let (mut others, mut problem) = (Vec::new(), None);
        for &(key, value) in pairs {
            match (objects.text(key), self.is_tensor(value)) {
                (Some(name), true) => {
                    problem = problem.or(self.add(&mut named, name.to_owned(), value).err());
                }
                (Some(name), false) => others.push((join(path, name), value)),
                (None, _) => {
                    let key = objects.int(key).map(|number| number.to_string());
                    let key = key.unwrap_or_else(|| "(no text)".into());
                    others.push((join(path, &key), value));
                }
            }
        }
        if let Some(problem) = problem {
            self.leave_out(path, &problem);
        } else if !(named.tensors.is_empty() && named.unread.is_empty()) {
            if self.dictionaries.len() < MAX_DICTIONARIES {
                self.dictionaries.push(named);
            } else {
                let what = format!("beyond the first {MAX_DICTIONARIES} dictionaries");
                self.leave_out(path, &what);
            }
        }
        for (path, value) in others {
            self.walk(&path, value, depth + 1);
        }
    }

    /// Names the functions that the pickle calls and that nobody here knows.
    fn strangers(&mut self) {
        let known = |module: &str| {
            [
                "torch",
                "torch.cuda",
                "torch._utils",
                "torch._tensor",
                "torch.nn.parameter",
                "collections",
                "torch.storage",
                "torch.jit._pickle",
                "builtins",
                "__builtin__",
            ]
            .contains(&module)
                || is_script(module)
        };
        let named = self.objects.globals();
        let named = named.filter(|(module, _)| !known(module));
        let named: Vec<_> = named
            .take(MAX_LEFT_OUT)
            .map(|(module, name)| shorten(&format!("{module}.{name}")))
            .collect();
        self.left_out.extend(named);
    }

    /// Puts what was found into the content of a file.
    pub(super) fn finish(mut self, contents: &mut Contents) {
        let is_nested = contents.dictionaries.iter().any(|one| !one.path.is_empty());
        if contents.format == Format::StateDict && is_nested {
            contents.format = Format::Checkpoint;
        }
        if contents.dictionaries.is_empty() {
            contents.nothing = Some(self.nothing());
        }
        self.left_out.sort();
        self.left_out.dedup();
        self.left_out.truncate(MAX_LEFT_OUT);
        contents.left_out = self.left_out;
    }

    /// Why there is nothing to read, and what helps.
    fn nothing(&self) -> Problem {
        let root = self.objects.root;
        let what = shorten(&self.describe(root));
        match self.objects.get(root) {
            Node::Dict(pairs) => {
                let keys = pairs.iter().filter_map(|(key, _)| self.objects.text(*key));
                let keys: Vec<_> = keys.take(MAX_LEFT_OUT).map(shorten).collect();
                match keys.is_empty() {
                    true => "holds no tensors with names: torch.save(model.state_dict(), FILE) makes a file with them".into(),
                    false => format!(
                        "holds no state dictionary: no tensors under {}; torch.save(model.state_dict(), FILE) makes a file with them",
                        keys.join(", ")
                    ),
                }
            }
            Node::Global { .. } | Node::Object(_) => format!(
                "is a pickled object of {what}, whose meaning is code; none was run. If it is a model, save its tensors: torch.save(model.state_dict(), FILE)"
            ),
            _ => format!("holds {what} and no dictionary of named tensors: torch.save(model.state_dict(), FILE) makes one"),
        }
    }
}

impl Dictionary {
    /// Takes what was found, each tensor as a view of the region that its storage has.
    pub(super) fn of(
        named: Named<'_>,
        mut region: impl FnMut(&View) -> Result<(usize, u64), Problem>,
    ) -> Self {
        let mut dictionary = Self {
            path: named.path,
            tensors: BTreeMap::new(),
            unread: named.unread,
        };
        for (name, view) in named.tensors {
            let stored = region(view).and_then(|(region, bytes)| {
                let numbers = match view.dtype.bytes {
                    0 => {
                        return Err(format!(
                            "is of dtype {}, whose numbers have no whole bytes",
                            view.dtype
                        ))
                    }
                    size => bytes / size,
                };
                let sizes = [view.shape.clone(), view.strides.clone()];
                Stored::strided(view.dtype, sizes, view.offset, (region, numbers))
            });
            match stored {
                Ok(stored) => drop(dictionary.tensors.insert(name, stored)),
                Err(reason) => drop(dictionary.unread.insert(name, reason)),
            }
        }
        dictionary
    }
}
