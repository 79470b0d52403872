//! The stack, what is put into containers on it, and the memo.

use super::call;
use super::machine::{Machine, EMPTY, ENTRY, UNIT};
use super::objects::{Id, Node};
use crate::weights::Problem;

impl<'a> Machine<'a> {
    pub(super) fn push_new(&mut self, node: Node<'a>) -> Result<(), Problem> {
        let id = self.objects.make(node)?;
        self.push(id)
    }

    pub(super) fn push(&mut self, id: Id) -> Result<(), Problem> {
        self.stack.push(id);
        if self.stack.len() > self.deepest {
            self.deepest = self.stack.len();
            self.objects.spend(ENTRY)?;
        }
        Ok(())
    }

    /// The lowest place of the stack that may be taken: what is below a mark waits for it.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Id, Problem> {
        let [id] = self.pop_array()?;
        Ok(id)
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        match self.stack.len().checked_sub(count) {
            Some(at) if at >= self.floor() => Ok(self.stack.split_off(at)),
            _ => Err("a stack with too little on it".into()),
        }
    }

    pub(super) fn pop_array<const N: usize>(&mut self) -> Result<[Id; N], Problem> {
        let at = self.stack.len().checked_sub(N);
        let Some(at) = at.filter(|&at| at >= self.floor()) else {
            return Err("a stack with too little on it".into());
        };
        let items = std::array::from_fn(|i| self.stack[at + i]);
        self.stack.truncate(at);
        Ok(items)
    }

    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let at = self.marks.pop().ok_or("no mark")?;
        let items = self.stack[at..].to_vec();
        self.stack.truncate(at);
        Ok(items)
    }

    pub(super) fn top(&self) -> Result<Id, Problem> {
        match self.stack.last() {
            Some(top) if self.stack.len() > self.floor() => Ok(*top),
            _ => Err("a stack with too little on it".into()),
        }
    }

    pub(super) fn extend(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        items.into_iter().try_for_each(|item| self.append(item))
    }

    /// Puts an item into the list on top of the stack; a plain number is only counted.
    pub(super) fn append(&mut self, item: Id) -> Result<(), Problem> {
        let top = self.top()?;
        let kept = !self.objects.is_plain(item);
        if kept {
            self.objects.spend(size_of::<(u32, Id)>())?;
        }
        let list = match self.objects.get_mut(top) {
            Some(Node::List(list)) => list,
            Some(Node::Object(object)) => &mut object.list,
            _ => return Err("items for something that is not a list".into()),
        };
        if kept {
            list.items.push((list.length, item));
        }
        list.length = list.length.saturating_add(1);
        Ok(())
    }

    /// Puts pairs into the dictionary on top of the stack.
    pub(super) fn set(&mut self, items: &[Id]) -> Result<(), Problem> {
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("a key without a value".into());
        }
        pairs
            .into_iter()
            .try_for_each(|pair| self.set_one(pair[0], pair[1]))
    }

    /// Puts a pair there; plain numbers under what is no name, such as a history of losses, are not kept.
    fn set_one(&mut self, key: Id, value: Id) -> Result<(), Problem> {
        let top = self.top()?;
        let kept = !(self.objects.is_plain(key) && self.objects.is_plain(value));
        if kept {
            self.objects.spend(size_of::<(Id, Id)>())?;
        }
        let pairs = match self.objects.get_mut(top) {
            Some(Node::Dict(pairs)) => pairs,
            Some(Node::Object(object)) => &mut object.pairs,
            _ => return Err("items for something that is not a dictionary".into()),
        };
        if kept {
            pairs.push((key, value));
        }
        Ok(())
    }

    /// Gives an object its state; a dictionary's and a tensor's own attributes are dropped.
    pub(super) fn build(&mut self, state: Id) -> Result<(), Problem> {
        let top = self.top()?;
        match self.objects.get_mut(top) {
            Some(Node::Object(object)) => object.state = Some(state),
            Some(Node::Dict(_) | Node::Tensor(_) | Node::Unread(_)) => {}
            _ => return Err("a state for what has none".into()),
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, index: usize) -> Result<(), Problem> {
        let top = self.top()?;
        // whoever counts entries makes one with each
        if index >= self.length {
            return Err(format!("memo entry {index}, more than it has bytes"));
        }
        if index >= self.memo.len() {
            self.objects.spend((index + 1 - self.memo.len()) * ENTRY)?;
            self.memo.resize(index + 1, EMPTY);
        }
        self.memo[index] = top;
        Ok(())
    }

    pub(super) fn recall(&mut self, index: usize) -> Result<(), Problem> {
        match self.memo.get(index) {
            Some(&id) if id != EMPTY => self.push(id),
            _ => Err(format!("memo entry {index}, which was never made")),
        }
    }

    pub(super) fn instance(&mut self, class: Id, items: Vec<Id>) -> Result<(), Problem> {
        let arguments = self.objects.make(Node::Tuple(items))?;
        let made = call::call(&mut self.objects, class, arguments)?;
        self.push(made)
    }

    /// Tuples that hold plain numbers are all the same one, but for whole numbers alone, which may be sizes.
    pub(super) fn tuple(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        let is_plain = items.iter().all(|&item| self.objects.is_plain(item));
        if is_plain && items.iter().any(|&item| self.objects.int(item).is_none()) {
            return self.push(UNIT);
        }
        self.push_new(Node::Tuple(items))
    }
}
