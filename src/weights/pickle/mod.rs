//! A reader of pickles that runs nothing.
//!
//! A pickle is a program for a stack machine: it names functions and calls them. This machine knows the opcodes of
//! protocols 2 to 5 and, of all functions, those in `call` that build tensors and containers; these are written here, in
//! Rust. Every other function is only a name: calling it gives [`Node::Opaque`], which remembers the name and does
//! nothing.
//!
//! | limit | why |
//! |---|---|
//! | 2^20 objects, 2^20 values on the stack | a byte of a pickle may ask for an object |
//! | 2^22 references in all containers | a value may be put into many |
//! | 2^20 memo entries | an opcode may name entry 4,294,967,295 |
//!
//! Objects refer to each other by number, so cycles and deep nesting cost nothing, and dropping them is flat.

mod call;
mod machine;
mod objects;

pub(super) use machine::read;
pub(super) use objects::{Id, Node, Objects, View};
