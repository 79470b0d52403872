//! CPU kernels: the solve, the convolution and the weight gradient, for all corners and their adjoints.
//!
//! | module | idea |
//! |---|---|
//! | [`sizes`], [`walk`], [`bands`] | sizes of a call, the order of the pixels, images cut into bands of rows |
//! | [`microkernel`] | one loop for all sums over taps |
//! | [`filter`] | filters in walking order, premultiplied by the inverse of the anchor, packed for the microkernel |
//! | [`plan`] | which images are solved how, and in which order |
//! | [`lanes`] | images as lanes, transposed in registers |
//! | [`tile`] | the solve of many images: images are the lanes of a vector |
//! | [`spectral`] | the rows above, for large filters, by Fourier transforms along the row |
//! | [`strip`] | the solve of few images: the pixels of an anti-diagonal are the lanes |
//! | [`planes`] | images with a border of zeros, for everything that needs no recursion |
//! | [`conv`], [`weight_grad`] | the convolution and the correlation: neighbouring pixels are the lanes |
//!
//! Corners and adjoints cost nothing: the solve turns them into the order in which pixels are loaded ([`walk::Walk`]), the
//! others into the sign of an offset. Work is split into jobs whose results do not depend on who runs them, and every
//! sum has an order of its own that no layout changes: results are bit-identical for any number of threads.

mod bands;
mod conv;
mod filter;
mod group;
mod lanes;
mod microkernel;
mod plan;
mod planes;
mod sizes;
mod spectral;
mod strip;
mod tile;
mod walk;
mod weight_grad;

pub use conv::conv;
pub use plan::solve;
pub use weight_grad::weight_grad;
