//! Files of parameters: those that PyTorch writes, and those that are damaged.

#[path = "../common/damaged_bytes.rs"]
mod damaged_bytes;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/python.rs"]
mod python;

mod archive;
mod counted;
mod damage;
mod support;

mod damaged;
mod others;
mod read;
