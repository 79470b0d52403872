//! The effective filters of inverse convolutions: from free parameters to filters that have an inverse.
//!
//! | module | idea |
//! |---|---|
//! | `raw` | what filters are made of, and what is made of it |
//! | [`mod@reference`] | the definition in plain tensor operations |
//! | `operator`, `recorded` | the operator, and a call on a GPU in the autograd graph |
//! | `prepared` | the filters of all layers of a model, made at once |

mod operator;
mod prepared;
mod raw;
mod recorded;
pub mod reference;

pub use operator::effective_filters;
pub use prepared::Filters;
pub use raw::{EffectiveFilter, RawFilter};
