//! What follows an opcode: bytes, numbers, texts.

use super::machine::{Machine, BIG, BYTES, FALSE, FLOAT, TRUE};
use super::objects::{Id, Node};
use crate::weights::Problem;

impl<'a> Machine<'a> {
    pub(super) fn number(&mut self, op: u8) -> Result<(), Problem> {
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
        self.int(value)
    }

    pub(super) fn int(&mut self, value: i64) -> Result<(), Problem> {
        match Id::immediate(value) {
            Some(id) => self.push(id),
            None => self.push_new(Node::Int(Some(value))),
        }
    }

    /// A number or a text that is written out on a line, as protocol 0 and Python 2 do.
    pub(super) fn written(&mut self, op: u8) -> Result<(), Problem> {
        let line = self.line()?;
        match (op, line) {
            (b'I', "00") => self.push(FALSE),
            (b'I', "01") => self.push(TRUE),
            (b'I' | b'L', _) => match line.trim_end_matches('L').parse() {
                Ok(number) => self.int(number),
                Err(_) => self.push(BIG),
            },
            (b'F', _) => self.push(FLOAT),
            // what is escaped is no name that anybody gives
            _ if line.contains('\\') => self.push(BYTES),
            (b'S', _) => {
                let text = line.strip_prefix(['\'', '"']).unwrap_or(line);
                let text = text.strip_suffix(['\'', '"']).unwrap_or(text);
                self.push_new(Node::Text(text))
            }
            _ => self.push_new(Node::Text(line)),
        }
    }

    /// The number of a memo entry on a line.
    pub(super) fn index(&mut self) -> Result<usize, Problem> {
        let index = self.line()?.parse();
        index.map_err(|_| "a memo entry without a number".into())
    }

    /// The bytes behind an opcode that says how many they are.
    pub(super) fn counted(&mut self, op: u8) -> Result<&'a [u8], Problem> {
        let size = match op {
            0x8c | b'C' | b'U' => u64::from(self.take_array::<1>()?[0]),
            0x8d | 0x8e | 0x96 => u64::from_le_bytes(self.take_array()?),
            _ => u64::from(u32::from_le_bytes(self.take_array()?)),
        };
        self.take(usize::try_from(size).unwrap_or(usize::MAX))
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.cut_off()),
        }
    }

    pub(super) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.cut_off()),
        }
    }

    pub(super) fn cut_off(&mut self) -> Problem {
        self.cut_off = true;
        "it is cut off".into()
    }

    pub(super) fn line(&mut self) -> Result<&'a str, Problem> {
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.cut_off());
        };
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|err| err.to_string())
    }
}
