//! What a pickle makes.

use crate::weights::{Dtype, Problem};

/// Most objects of a pickle.
const MAX_NODES: usize = 1 << 20;

/// Number of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::weights) struct Id(pub(super) u32);

/// An object.
#[derive(Debug)]
pub(in crate::weights) enum Node<'a> {
    None,
    Bool(bool),
    /// `None` for one beyond 64 bits.
    Int(Option<i64>),
    Float,
    Text(&'a str),
    Bytes,
    /// A list or a set.
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The name of a class or a function, `module.name`.
    Global {
        module: &'a str,
        name: &'a str,
    },
    Storage(Box<Storage<'a>>),
    Tensor(Box<View>),
    /// An object of a class that TorchScript compiled: what it consists of, nothing of what it does.
    Object {
        class: Id,
        state: Option<Id>,
    },
    /// What something makes that is not known here.
    Opaque(Id),
}

/// A run of numbers beside the pickle.
#[derive(Debug, Clone, Copy)]
pub(in crate::weights) struct Storage<'a> {
    /// Name of its entry in the archive.
    pub key: &'a str,
    /// Kind of its numbers; `None` for one that is said with the tensor.
    pub dtype: Option<Dtype>,
    /// How many; bytes where the kind is not said.
    pub numbers: u64,
}

/// A tensor as a view of a storage.
#[derive(Debug)]
pub(in crate::weights) struct View {
    pub storage: Id,
    pub dtype: Dtype,
    pub offset: u64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

/// Everything that a pickle made.
#[derive(Debug)]
pub(in crate::weights) struct Objects<'a> {
    nodes: Vec<Node<'a>>,
    pub root: Id,
}

impl<'a> Objects<'a> {
    /// No objects yet.
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            root: Id(0),
        }
    }

    /// A new object.
    pub(super) fn make(&mut self, node: Node<'a>) -> Result<Id, Problem> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!("more than {MAX_NODES} objects"));
        }
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node<'a> {
        &mut self.nodes[id.0 as usize]
    }

    pub(in crate::weights) fn get(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    /// The text that an object is.
    pub(in crate::weights) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `module.name` of a global or of what made an opaque object.
    pub(in crate::weights) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match *self.get(id) {
            Node::Global { module, name } => Some((module, name)),
            // what is opaque refers to a global, never to another opaque object
            Node::Opaque(by) => match *self.get(by) {
                Node::Global { module, name } => Some((module, name)),
                _ => None,
            },
            _ => None,
        }
    }

    /// All functions and classes that the pickle names, each once for every time it is named.
    pub(in crate::weights) fn globals(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.nodes.iter().filter_map(|node| match *node {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        })
    }

    /// A word for what an object is.
    pub(in crate::weights) fn describe(&self, id: Id) -> String {
        match self.get(id) {
            Node::None => "None".into(),
            Node::Bool(_) => "a boolean".into(),
            Node::Int(_) | Node::Float => "a number".into(),
            Node::Text(_) | Node::Bytes => "a text".into(),
            Node::List(_) => "a list".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::Dict(_) => "a dictionary".into(),
            Node::Storage(_) => "a storage".into(),
            Node::Tensor(_) => "a tensor".into(),
            Node::Object { .. } => "a TorchScript object".into(),
            Node::Global { .. } | Node::Opaque(_) => match self.global(id) {
                Some((module, name)) => format!("`{module}.{name}`"),
                None => "an object".into(),
            },
        }
    }
}
