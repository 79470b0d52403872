//! The stack machine: opcodes in, objects out.

use super::call;
use super::objects::{Id, List, Node, Objects};
use crate::weights::Problem;

/// Why a pickle was not read.
pub(in crate::weights) struct Failure {
    pub problem: Problem,
    /// The bytes ended before the pickle did.
    pub cut_off: bool,
}

/// Reads a pickle of any protocol from the beginning of `bytes`, and says how many of them it has.
///
/// # Errors
/// A pickle that is cut off, has unknown opcodes, misuses its stack or asks for too much memory.
pub(in crate::weights) fn read(bytes: &[u8]) -> Result<(Objects<'_>, usize), Failure> {
    let mut machine = Machine {
        rest: bytes,
        length: bytes.len(),
        objects: Objects::new(bytes.len()),
        stack: Vec::new(),
        deepest: 0,
        marks: Vec::new(),
        memo: Vec::new(),
        cut_off: false,
    };
    let root = machine.intern().and_then(|()| machine.run());
    let at = bytes.len() - machine.rest.len();
    let root = root.map_err(|problem| Failure {
        problem: format!("its pickle is damaged or not one of PyTorch: {problem}, byte {at}"),
        cut_off: machine.cut_off,
    })?;
    let mut objects = machine.objects;
    objects.root = root;
    Ok((objects, at))
}

/// No memo entry.
pub(super) const EMPTY: Id = Id(u32::MAX);
/// Objects that are made once, in the order of [`Machine::intern`]; behind them the numbers 0 to 255.
pub(super) const NONE: Id = Id(0);
pub(super) const FALSE: Id = Id(1);
pub(super) const TRUE: Id = Id(2);
pub(super) const UNIT: Id = Id(3);
pub(super) const FLOAT: Id = Id(4);
pub(super) const BYTES: Id = Id(5);
pub(super) const BIG: Id = Id(6);
/// Bytes of an entry on the stack or in the memo.
pub(super) const ENTRY: usize = size_of::<Id>();

pub(super) struct Machine<'a> {
    pub(super) rest: &'a [u8],
    /// Of all bytes.
    pub(super) length: usize,
    pub(super) objects: Objects<'a>,
    pub(super) stack: Vec<Id>,
    /// The most that the stack has held.
    pub(super) deepest: usize,
    /// Where in the stack the marks are.
    pub(super) marks: Vec<usize>,
    pub(super) memo: Vec<Id>,
    pub(super) cut_off: bool,
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
        fixed.into_iter().try_for_each(|node| {
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
                    [0..=5] => {}
                    [version] => return Err(format!("protocol {version}")),
                },
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'(' => {
                    self.objects.spend(size_of::<usize>())?;
                    self.marks.push(self.stack.len());
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.push(top)?;
                }
                b'N' => self.push(NONE)?,
                0x88 => self.push(TRUE)?,
                0x89 => self.push(FALSE)?,
                b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' => self.number(op)?,
                b'X' | 0x8c | 0x8d => {
                    let text = self.counted(op)?;
                    let text = std::str::from_utf8(text).map_err(|err| err.to_string())?;
                    self.push_new(Node::Text(text))?;
                }
                // texts of Python 2, which may be bytes
                b'T' | b'U' => match std::str::from_utf8(self.counted(op)?) {
                    Ok(text) => self.push_new(Node::Text(text))?,
                    Err(_) => self.push(BYTES)?,
                },
                b'B' | b'C' | 0x8e | 0x96 => {
                    self.counted(op)?;
                    self.push(BYTES)?;
                }
                b'I' | b'L' | b'F' | b'S' | b'V' => self.written(op)?,
                b']' | 0x8f => self.push_new(Node::List(List::default()))?,
                b'}' => self.push_new(Node::Dict(Vec::new()))?,
                b')' => self.push(UNIT)?,
                0x85..=0x87 => {
                    let items = self.pop_many(usize::from(op - 0x84))?;
                    self.tuple(items)?;
                }
                // TUPLE, FROZENSET
                b't' | 0x91 => {
                    let items = self.pop_mark()?;
                    self.tuple(items)?;
                }
                b'l' => {
                    let items = self.pop_mark()?;
                    self.push_new(Node::List(List::default()))?;
                    self.extend(items)?;
                }
                b'd' => {
                    let items = self.pop_mark()?;
                    self.push_new(Node::Dict(Vec::new()))?;
                    self.set(&items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(item)?;
                }
                // APPENDS, ADDITEMS
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let pair: [Id; 2] = self.pop_array()?;
                    self.set(&pair)?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set(&items)?;
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
                // INST, OBJ: class and arguments behind a mark
                b'i' => {
                    let items = self.pop_mark()?;
                    let (module, name) = (self.line()?, self.line()?);
                    let class = self.objects.make(Node::Global { module, name })?;
                    self.instance(class, items)?;
                }
                b'o' => {
                    let mut items = self.pop_mark()?;
                    if items.is_empty() {
                        return Err("an object without a class".into());
                    }
                    let class = items.remove(0);
                    self.instance(class, items)?;
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
                    let made = call::refer(&mut self.objects, reference)?;
                    self.push(made)?;
                }
                // MEMOIZE, PUT, BINPUT, LONG_BINPUT
                0x94 => self.remember(self.memo.len())?,
                b'p' => {
                    let index = self.index()?;
                    self.remember(index)?;
                }
                b'q' => {
                    let [index] = self.take_array()?;
                    self.remember(usize::from(index))?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.take_array()?);
                    self.remember(index as usize)?;
                }
                b'g' => {
                    let index = self.index()?;
                    self.recall(index)?;
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
}
