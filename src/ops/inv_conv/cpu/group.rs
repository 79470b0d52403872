//! What tiles and strips know of the channels that they solve.

use super::filter::Block;
use super::spectral::Spectrum;
use super::walk::Walk;

/// One group of channels, ready to be solved.
pub struct SolveGroup<T> {
    /// Where its channels begin.
    pub first_channel: usize,
    /// Where its recursion begins.
    pub walk: Walk,
    /// Coefficients in the order of [`solve_order`](super::filter::solve_order).
    pub blocks: Vec<Block<T>>,
    /// The rows above by spectra, where that pays.
    pub spectrum: Option<Spectrum<T>>,
}
