//! A reader of pickles that runs nothing.
//!
//! A pickle is a program for a stack machine: it names functions and calls them. This machine knows the opcodes of all
//! protocols and, of all functions, those in `call` that build tensors and containers; these are written here, in Rust.
//! Every other function is only a name: calling it gives a [`Node::Object`], which remembers the name and what it was
//! given, and does nothing.
//!
//! What a pickle may take is 32 MiB and 6 times its own size: objects, values on the stack, memo entries and what
//! containers hold, all together. Plain numbers are not kept, so that histories of losses cost nothing.
//!
//! Objects refer to each other by number, so cycles and deep nesting cost nothing, and dropping them is flat.

mod bytes;
mod call;
mod machine;
mod objects;
mod stack;

pub(super) use call::is_script;
pub(super) use machine::read;
pub(super) use objects::{Id, Node, Objects, Storage, View};
