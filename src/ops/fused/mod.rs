//! One scaffold for the operators that are one kernel forward and one backward.
//!
//! | module | idea |
//! |---|---|
//! | [`operator`] | what such an operator is, and how a call of it is made |
//! | [`recorded`] | a call in the autograd graph: what all of them do alike |
//! | [`twin`] | the second derivative: that of the twin in plain tensor operations |
//! | [`mod@eager`] | a switch that runs the twins instead |

mod eager;
mod operator;
mod recorded;
mod twin;

pub use eager::eagerly;
pub(super) use eager::is_eager;
pub(super) use operator::{has_kernels, take, FusedOp};
pub(super) use recorded::run;
pub(super) use twin::gradients_by_twin;
