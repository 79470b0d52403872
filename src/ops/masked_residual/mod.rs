//! What surrounds the convolutions of a masked residual block, each as one pass forward and one backward.
//!
//! | file | idea |
//! |---|---|
//! | `filters` | masked filters, the paths from a colour to itself, the slope of the direct path |
//! | `elu` | ELU with its slope |
//! | [`mod@reference`] | the definitions in plain tensor operations: the twins of the kernels |

mod arguments;
mod elu;
mod filters;
pub mod reference;

pub use crate::problem::residual::Triangle;
pub use arguments::{ResidualFilters, ResidualWeights};
pub use elu::elu_with_slope;
pub use filters::residual_filters;
