//! What a number comes from.

use serde::{Deserialize, Serialize};

/// The machine and the program that a number comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor or card that the row ran on, in one line.
    pub hardware: String,
    /// The commit of the checkout, with `+changes` if files differ from it.
    pub commit: String,
    /// Further facts by name: driver, libtorch, program, system.
    pub facts: Vec<(String, String)>,
}

impl Environment {
    /// Whether it is the same program on the same machine; the facts have what changes by the minute, as the memory that
    /// is free.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.hardware, &self.commit) == (&other.hardware, &other.commit)
    }
}
