//! Tensors as they lie in a file.

use super::{Dtype, Format, Problem};
use crate::words::counted;
use std::collections::{BTreeMap, HashMap};

/// A run of bytes in a file that holds the numbers of one or more tensors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Region {
    pub start: u64,
    pub length: u64,
    /// The checksum that the file states for it, if it does.
    pub crc: Option<u32>,
    pub big_endian: bool,
}

/// A tensor as it lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The kind of its numbers.
    pub dtype: Dtype,
    /// Its sizes.
    pub shape: Vec<i64>,
    /// In numbers, one for each dimension.
    pub(super) strides: Vec<i64>,
    /// Where it begins in its region, in numbers.
    pub(super) offset: u64,
    pub(super) region: usize,
}

impl Stored {
    /// A tensor that fills a region row by row.
    pub(super) fn contiguous(dtype: Dtype, shape: Vec<i64>, region: usize) -> Self {
        let mut strides = vec![1_i64; shape.len()];
        for d in (1..shape.len()).rev() {
            strides[d - 1] = strides[d].saturating_mul(shape[d].max(1));
        }
        Self {
            dtype,
            shape,
            strides,
            offset: 0,
            region,
        }
    }

    /// A view of a region of `numbers` numbers.
    ///
    /// # Errors
    /// A size below 0, or a view that leaves the region.
    pub(super) fn strided(
        dtype: Dtype,
        [shape, strides]: [Vec<i64>; 2],
        offset: u64,
        (region, numbers): (usize, u64),
    ) -> Result<Self, Problem> {
        let view = Self {
            dtype,
            shape,
            strides,
            offset,
            region,
        };
        let end = view.span().and_then(|span| span.checked_add(offset));
        match end {
            Some(end) if end <= numbers => Ok(view),
            _ => Err(format!(
                "has sizes {:?} with strides {:?} from {offset} on, beyond its storage of {}",
                view.shape,
                view.strides,
                counted(numbers, "number")
            )),
        }
    }

    /// How many numbers of the region the tensor reaches over; `None` for sizes that no tensor has.
    pub(super) fn span(&self) -> Option<u64> {
        if self.shape.len() != self.strides.len() || self.shape.iter().any(|&size| size < 0) {
            return None;
        }
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut span = 1_u64;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let stride = u64::try_from(stride).ok()?;
            span = span.checked_add((size as u64 - 1).checked_mul(stride)?)?;
        }
        Some(span)
    }
}

/// A message whose names, which come from a file, cannot break its line.
pub(super) fn one_line(problem: &str) -> Problem {
    problem.replace(char::is_control, "\u{fffd}")
}

/// Tensors with names: all of a file, or one of the dictionaries in it.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    /// Where it lies in the file, `model_state_dict`; nothing for what lies at the top.
    pub path: String,
    /// The tensors that can be read.
    pub tensors: BTreeMap<String, Stored>,
    /// The others, and why they are not read: `is sparse`.
    pub unread: BTreeMap<String, String>,
}

impl Dictionary {
    /// The path for a message.
    pub fn name(&self) -> String {
        match &self.path[..] {
            "" => "the top level".to_owned(),
            path => format!("`{path}`"),
        }
    }

    /// The names of all tensors, those that are not read too.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        let unread = self.unread.keys().map(String::as_str);
        self.tensors.keys().map(String::as_str).chain(unread)
    }
}

/// What stands in a file: everything but the numbers.
#[derive(Debug)]
pub(super) struct Contents {
    pub format: Format,
    pub dictionaries: Vec<Dictionary>,
    pub regions: Vec<Region>,
    pub metadata: HashMap<String, String>,
    /// What else the file holds and nobody reads.
    pub left_out: Vec<String>,
    /// Why there are no dictionaries, if there are none.
    pub nothing: Option<Problem>,
}

impl Contents {
    /// Nothing yet.
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            dictionaries: Vec::new(),
            regions: Vec::new(),
            metadata: HashMap::new(),
            left_out: Vec::new(),
            nothing: None,
        }
    }
}
