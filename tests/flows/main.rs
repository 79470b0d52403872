//! Layers: the laws that each of them keeps, and what is special about it.

#[path = "../common/gradients.rs"]
mod gradients;
#[path = "../common/jacobian.rs"]
mod jacobian;
#[path = "../common/numbers.rs"]
mod numbers;
#[path = "../common/variables.rs"]
mod variables;

mod assert;
mod cases;

mod common {
    pub use crate::{assert::*, gradients::*, jacobian::*, numbers::*, variables::*};
}

mod actnorm;
mod butterfly;
mod coupling;
mod families;
mod first_batch;
mod inv_conv;
mod laws;
mod macow;
mod mintnet;
mod preprocess;
mod self_norm;
mod spline;
mod woodbury;
