//! The stack machine: opcodes in, objects out.

use super::call;
use super::objects::{Id, Node, Objects};
use crate::weights::Problem;

const MAX_STACK: usize = 1 << 20;
const MAX_MEMO: usize = 1 << 20;
const MAX_REFERENCES: usize = 1 << 22;

/// Reads a pickle, protocol 2 to 5.
///
/// # Errors
/// A pickle that is cut off, has opcodes of another protocol, misuses its stack or exceeds a limit.
pub(in crate::weights) fn read(bytes: &[u8]) -> Result<Objects<'_>, Problem> {
    let mut machine = Machine {
        rest: bytes,
        objects: Objects::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        references: 0,
    };
    machine.intern()?;
    let root = machine.run().map_err(|problem| {
        let at = bytes.len() - machine.rest.len();
        format!("its pickle is damaged or not one of PyTorch: {problem}, byte {at}")
    })?;
    let mut objects = machine.objects;
    objects.root = root;
    Ok(objects)
}

/// No memo entry.
const EMPTY: Id = Id(u32::MAX);
/// Objects that are made once, in the order of [`Machine::intern`]; behind them the numbers 0 to 255.
const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);
const UNIT: Id = Id(3);
const FLOAT: Id = Id(4);
const BYTES: Id = Id(5);
const BIG: Id = Id(6);
const ZERO: u32 = 7;

struct Machine<'a> {
    rest: &'a [u8],
    objects: Objects<'a>,
    stack: Vec<Id>,
    /// Where in the stack the marks are.
    marks: Vec<usize>,
    memo: Vec<Id>,
    /// Made so far, in all containers together.
    references: usize,
}

impl<'a> Machine<'a> {
    fn intern(&mut self) -> Result<(), Problem> {
        let fixed = [
            Node::None,
            Node::Bool(false),
            Node::Bool(true),
            Node::Tuple(Vec::new()),
            Node::Float,
            Node::Bytes,
            Node::Int(None),
        ];
        let small = (0..256).map(|number| Node::Int(Some(number)));
        fixed.into_iter().chain(small).try_for_each(|node| {
            self.objects.make(node)?;
            Ok(())
        })
    }

    fn run(&mut self) -> Result<Id, Problem> {
        loop {
            let [op] = self.take_array()?;
            match op {
                // PROTO, FRAME: nothing to know
                0x80 => match self.take_array()? {
                    [2..=5] => {}
                    [version] => return Err(format!("protocol {version}")),
                },
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'(' => {
                    if self.marks.len() >= MAX_STACK {
                        return Err("too many marks".into());
                    }
                    self.marks.push(self.stack.len());
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'N' => self.push(NONE)?,
                0x88 => self.push(TRUE)?,
                0x89 => self.push(FALSE)?,
                b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' => self.number(op)?,
                b'X' | 0x8c | 0x8d => {
                    let text = self.counted(op)?;
                    let text = std::str::from_utf8(text).map_err(|err| err.to_string())?;
                    self.push_new(Node::Text(text))?;
                }
                // bytes, and texts of Python 2
                b'B' | b'C' | 0x8e | 0x96 | b'T' | b'U' => {
                    self.counted(op)?;
                    self.push(BYTES)?;
                }
                b']' | 0x8f => self.push_new(Node::List(Vec::new()))?,
                b'}' => self.push_new(Node::Dict(Vec::new()))?,
                b')' => self.push(UNIT)?,
                0x85..=0x87 => {
                    let items = self.pop_many(usize::from(op - 0x84))?;
                    self.push_new(Node::Tuple(items))?;
                }
                // TUPLE, FROZENSET
                b't' | 0x91 => {
                    let items = self.pop_mark()?;
                    self.refer(items.len())?;
                    self.push_new(Node::Tuple(items))?;
                }
                b'a' => {
                    let items = self.pop_many(1)?;
                    self.extend(items)?;
                }
                // APPENDS, ADDITEMS
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set(items)?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set(items)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push_new(Node::Global { module, name })?;
                }
                0x93 => {
                    let [module, name] = self.pop_array()?;
                    let text = |id| self.objects.text(id).ok_or("a global without a name");
                    let (module, name) = (text(module)?, text(name)?);
                    self.push_new(Node::Global { module, name })?;
                }
                // REDUCE, NEWOBJ
                b'R' | 0x81 => {
                    let [callable, arguments] = self.pop_array()?;
                    let made = call::call(&mut self.objects, callable, arguments)?;
                    self.push(made)?;
                }
                0x92 => {
                    let [class, arguments, _named] = self.pop_array()?;
                    let made = call::call(&mut self.objects, class, arguments)?;
                    self.push(made)?;
                }
                b'b' => {
                    let [state] = self.pop_array()?;
                    self.build(state)?;
                }
                b'Q' => {
                    let [reference] = self.pop_array()?;
                    let made = call::storage(&mut self.objects, reference)?;
                    self.push(made)?;
                }
                // MEMOIZE, BINPUT, LONG_BINPUT
                0x94 => self.remember(self.memo.len())?,
                b'q' => {
                    let [index] = self.take_array()?;
                    self.remember(usize::from(index))?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.take_array()?);
                    self.remember(index as usize)?;
                }
                b'h' => {
                    let [index] = self.take_array()?;
                    self.recall(usize::from(index))?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.take_array()?);
                    self.recall(index as usize)?;
                }
                other => return Err(format!("opcode {other:#04x}, which PyTorch does not write")),
            }
        }
    }

    fn number(&mut self, op: u8) -> Result<(), Problem> {
        let value = match op {
            b'K' => i64::from(self.take_array::<1>()?[0]),
            b'M' => i64::from(u16::from_le_bytes(self.take_array()?)),
            b'J' => i64::from(i32::from_le_bytes(self.take_array()?)),
            b'G' => {
                self.take(8)?;
                return self.push(FLOAT);
            }
            _ => {
                let size = match op {
                    0x8a => u32::from(self.take_array::<1>()?[0]),
                    _ => u32::from_le_bytes(self.take_array()?),
                };
                let bytes = self.take(size as usize)?;
                if bytes.len() > 8 {
                    return self.push(BIG);
                }
                // two's complement, its sign in the last byte
                let sign = bytes
                    .last()
                    .map_or(0, |last| if *last < 128 { 0 } else { 0xff });
                let mut wide = [sign; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                i64::from_le_bytes(wide)
            }
        };
        match u8::try_from(value) {
            Ok(small) => self.push(Id(ZERO + u32::from(small))),
            Err(_) => self.push_new(Node::Int(Some(value))),
        }
    }

    /// The bytes behind an opcode that says how many they are.
    fn counted(&mut self, op: u8) -> Result<&'a [u8], Problem> {
        let size = match op {
            0x8c | b'C' | b'U' => u64::from(self.take_array::<1>()?[0]),
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.take_array()?),
            _ => u64::from(u32::from_le_bytes(self.take_array()?)),
        };
        self.take(usize::try_from(size).unwrap_or(usize::MAX))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("it is cut off")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn line(&mut self) -> Result<&'a str, Problem> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or("it is cut off")?)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|err| err.to_string())
    }

    fn push_new(&mut self, node: Node<'a>) -> Result<(), Problem> {
        let id = self.objects.make(node)?;
        self.push(id)
    }

    fn push(&mut self, id: Id) -> Result<(), Problem> {
        if self.stack.len() >= MAX_STACK {
            return Err(format!("more than {MAX_STACK} values on its stack"));
        }
        self.stack.push(id);
        Ok(())
    }

    /// The lowest place of the stack that may be taken: what is below a mark waits for it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let [id] = self.pop_array()?;
        Ok(id)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        match self.stack.len().checked_sub(count) {
            Some(at) if at >= self.floor() => Ok(self.stack.split_off(at)),
            _ => Err("a stack with too little on it".into()),
        }
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Id; N], Problem> {
        let items = self.pop_many(N)?;
        Ok(std::array::from_fn(|i| items[i]))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let at = self.marks.pop().ok_or("no mark")?;
        let items = self.stack[at..].to_vec();
        self.stack.truncate(at);
        Ok(items)
    }

    fn refer(&mut self, count: usize) -> Result<(), Problem> {
        self.references += count;
        if self.references > MAX_REFERENCES {
            return Err(format!("more than {MAX_REFERENCES} references"));
        }
        Ok(())
    }

    fn top(&self) -> Result<Id, Problem> {
        match self.stack.last() {
            Some(top) if self.stack.len() > self.floor() => Ok(*top),
            _ => Err("a stack with too little on it".into()),
        }
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        self.refer(items.len())?;
        let top = self.top()?;
        match self.objects.get_mut(top) {
            Node::List(list) => list.extend(items),
            Node::Opaque(_) => {}
            _ => return Err("items for something that is not a list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        self.refer(items.len())?;
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".into());
        }
        let top = self.top()?;
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match self.objects.get_mut(top) {
            Node::Dict(dict) => dict.extend(pairs),
            Node::Opaque(_) => {}
            _ => return Err("items for something that is not a dictionary".into()),
        }
        Ok(())
    }

    /// Gives an object its state; only one of TorchScript keeps it, a dictionary's own attributes are dropped.
    fn build(&mut self, state: Id) -> Result<(), Problem> {
        let top = self.top()?;
        match self.objects.get_mut(top) {
            Node::Object { state: slot, .. } => *slot = Some(state),
            Node::Dict(_) | Node::Opaque(_) | Node::Tensor(_) => {}
            _ => return Err("a state for what has none".into()),
        }
        Ok(())
    }

    fn remember(&mut self, index: usize) -> Result<(), Problem> {
        let top = self.top()?;
        if index >= MAX_MEMO {
            return Err(format!("memo entry {index}, at most {MAX_MEMO} are read"));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, EMPTY);
        }
        self.memo[index] = top;
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), Problem> {
        match self.memo.get(index) {
            Some(&id) if id != EMPTY => self.push(id),
            _ => Err(format!("memo entry {index}, which was never made")),
        }
    }
}
