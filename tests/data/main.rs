//! Data sets, their files, and the random numbers that go with them.

#[path = "../common/damaged_bytes.rs"]
mod damaged_bytes;
#[path = "../common/pictures.rs"]
mod pictures;
#[path = "../common/skip.rs"]
mod skip;

mod files;
mod glyphs;
mod own_arrays;
mod own_damaged;
mod own_files;
mod own_layouts;
mod own_pictures;
mod published;
mod random;
mod sets;
