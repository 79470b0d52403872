//! Data sets, their files, and the random numbers that go with them.

#[path = "../common/skip.rs"]
mod skip;

mod files;
mod glyphs;
mod random;
mod sets;
