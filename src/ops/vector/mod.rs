//! What the CPU kernels of all operators share.
//!
//! | module | idea |
//! |---|---|
//! | [`real`] | element types: their arithmetic, and their vectors |
//! | [`mod@instruction_set`] | the instruction set, chosen once |
//! | [`transpose`] | square blocks of elements, turned over in registers |
//! | [`jobs`] | jobs over libtorch's threads, each taken by whoever is free |

pub mod instruction_set;
pub mod jobs;
pub mod real;
pub mod transpose;

pub use instruction_set::{arch, instruction_set};
pub use real::Real;
