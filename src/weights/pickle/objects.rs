//! What a pickle makes.

use crate::weights::{Dtype, Problem};
use crate::words::counted;

/// Memory that any pickle may take, and how much more for each of its bytes.
const MEMORY: usize = 32 << 20;
const MEMORY_A_BYTE: usize = 6;
/// Numbers in `-IMMEDIATE..IMMEDIATE` are part of an [`Id`].
const IMMEDIATE: i64 = 1 << 30;
const IS_IMMEDIATE: u32 = 1 << 31;

/// Number of an object, or a small number itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::weights) struct Id(pub(super) u32);

impl Id {
    /// The object that a small number is.
    pub(super) fn immediate(number: i64) -> Option<Self> {
        let is_small = (-IMMEDIATE..IMMEDIATE).contains(&number);
        is_small.then(|| Self((number + IMMEDIATE) as u32 | IS_IMMEDIATE))
    }
}

/// An object.
#[derive(Debug)]
pub(in crate::weights) enum Node<'a> {
    None,
    Bool(bool),
    /// `None` for one beyond 64 bits; ask [`Objects::int`].
    Int(Option<i64>),
    Float,
    Text(&'a str),
    Bytes,
    /// A list or a set.
    List(List),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The name of a class or a function, `module.name`.
    Global {
        module: &'a str,
        name: &'a str,
    },
    Storage(Box<Storage<'a>>),
    Tensor(Box<View>),
    /// A tensor that is not read.
    Unread(Box<Unread>),
    /// What something makes that is not known here: what it consists of, nothing of what it does.
    Object(Box<Object>),
}

/// Items of a list with their places; plain numbers are counted and not kept, so that a history of a million costs nothing.
#[derive(Debug, Default)]
pub(in crate::weights) struct List {
    pub items: Vec<(u32, Id)>,
    pub length: u32,
}

/// What a class or a function was called with, and what was put into the result.
#[derive(Debug)]
pub(in crate::weights) struct Object {
    /// A global.
    pub by: Id,
    pub arguments: Option<Id>,
    pub state: Option<Id>,
    /// Of a dictionary of a class of its own.
    pub pairs: Vec<(Id, Id)>,
    /// Of a list of a class of its own.
    pub list: List,
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
    /// Where in the storage of that key this one begins, before PyTorch 1.6.
    pub offset: u64,
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

/// What is known of a tensor that is not read.
#[derive(Debug)]
pub(in crate::weights) struct Unread {
    pub shape: Option<Vec<i64>>,
    pub reason: String,
}

/// Everything that a pickle made.
#[derive(Debug)]
pub(in crate::weights) struct Objects<'a> {
    nodes: Vec<Node<'a>>,
    pub root: Id,
    /// Memory taken so far, and how much may be, bytes.
    spent: usize,
    limit: usize,
}

impl<'a> Objects<'a> {
    /// No objects yet, for a pickle of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        Self {
            nodes: Vec::new(),
            root: Id(0),
            spent: 0,
            limit: MEMORY.saturating_add(length.saturating_mul(MEMORY_A_BYTE)),
        }
    }

    /// Counts memory that is about to be taken.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > self.limit {
            return Err(format!(
                "it asks for more than {MEMORY_A_BYTE} times its size of memory"
            ));
        }
        Ok(())
    }

    /// A new object.
    pub(super) fn make(&mut self, node: Node<'a>) -> Result<Id, Problem> {
        let inside = match &node {
            Node::Tuple(items) => 16 + size_of_val(&items[..]),
            Node::Storage(_) | Node::Tensor(_) | Node::Unread(_) | Node::Object(_) => 128,
            _ => 0,
        };
        self.spend(size_of::<Node<'a>>() + inside)?;
        // the upper half of all numbers means something else
        let id = u32::try_from(self.nodes.len()).ok();
        let id = id
            .filter(|id| id & IS_IMMEDIATE == 0)
            .ok_or("too many objects")?;
        self.nodes.push(node);
        Ok(Id(id))
    }

    /// What a global makes of its arguments.
    pub(super) fn make_object(&mut self, by: Id, arguments: Option<Id>) -> Result<Id, Problem> {
        self.make(Node::Object(Box::new(Object {
            by,
            arguments,
            state: None,
            pairs: Vec::new(),
            list: List::default(),
        })))
    }

    /// The object to change; small numbers cannot be.
    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Node<'a>> {
        self.nodes.get_mut(id.0 as usize)
    }

    pub(in crate::weights) fn get(&self, id: Id) -> &Node<'a> {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::Int(None))
    }

    /// The number that an object is.
    pub(in crate::weights) fn int(&self, id: Id) -> Option<i64> {
        if id.0 & IS_IMMEDIATE != 0 {
            return Some(i64::from(id.0 & !IS_IMMEDIATE) - IMMEDIATE);
        }
        match self.get(id) {
            Node::Int(number) => *number,
            _ => None,
        }
    }

    /// The text that an object is.
    pub(in crate::weights) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether an object holds nothing that a model is made of and no name either.
    pub(super) fn is_plain(&self, id: Id) -> bool {
        matches!(
            self.get(id),
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Float | Node::Bytes
        )
    }

    /// `module.name` of a global or of what made an object.
    pub(in crate::weights) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Node::Global { module, name } => Some((module, name)),
            // what made an object is a global, never another object
            Node::Object(object) => match *self.get(object.by) {
                Node::Global { module, name } => Some((module, name)),
                _ => None,
            },
            _ => None,
        }
    }

    /// All storages that the pickle refers to, each once for every time.
    pub(in crate::weights) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> + '_ {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(&**storage),
            _ => None,
        })
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
            Node::List(list) => format!("a list of {}", counted(list.length, "item")),
            Node::Tuple(_) => "a tuple".into(),
            Node::Dict(_) => "a dictionary".into(),
            Node::Storage(_) => "a storage".into(),
            Node::Tensor(_) => "a tensor".into(),
            Node::Unread(unread) => format!("a tensor that {}", unread.reason),
            Node::Global { .. } | Node::Object(_) => match self.global(id) {
                Some((module, name)) => format!("`{module}.{name}`"),
                None => "an object".into(),
            },
        }
    }
}
