//! The order of one epoch.

use super::permutation;
use crate::words::counted;
use crate::{Error, Result};

/// Which images each batch of one epoch holds.
///
/// A pure function of its arguments: a run that was stopped after `b` batches goes on with
/// [`batches_from`](Self::batches_from)`(b)` of the same epoch and sees what it would have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    order: Vec<usize>,
    batch_size: usize,
}

impl Epoch {
    /// Training order: shuffled by `(seed, epoch)`; the images that fill no batch sit this epoch out, so
    /// that every step averages over the same number of images.
    ///
    /// # Errors
    /// A batch size of 0 or more than `n`.
    pub fn train(n: usize, batch_size: usize, seed: u64, epoch: u64) -> Result<Self> {
        if batch_size > n {
            return Err(Error::config(format!(
                "batch size {batch_size} is more than the {}: use a smaller --batch-size or more data",
                counted(n, "training image")
            )));
        }
        let mut order = permutation(seed, epoch, n);
        order.truncate(n - n % checked(batch_size)?);
        Ok(Self { order, batch_size })
    }

    /// Evaluation order: as stored, every image once, the last batch possibly smaller.
    ///
    /// # Errors
    /// A batch size of 0.
    pub fn eval(n: usize, batch_size: usize) -> Result<Self> {
        let batch_size = checked(batch_size)?;
        let order = (0..n).collect();
        Ok(Self { order, batch_size })
    }

    /// Images of every batch but perhaps the last.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        self.order.len().div_ceil(self.batch_size)
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The image indices of each batch.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = &[usize]> + '_ {
        self.batches_from(0)
    }

    /// The image indices of each batch, without the first `start` batches.
    pub fn batches_from(&self, start: usize) -> impl ExactSizeIterator<Item = &[usize]> + '_ {
        self.order.chunks(self.batch_size).skip(start)
    }
}

fn checked(batch_size: usize) -> Result<usize> {
    match batch_size {
        0 => Err(Error::config("batch size 0: use --batch-size 1 or more")),
        _ => Ok(batch_size),
    }
}
