//! The differentiable operators: against their twins in plain tensor operations, against differences, and whoever
//! computes them.

#[path = "../common/close.rs"]
mod close;
#[path = "../common/device.rs"]
mod device;
#[path = "../common/gpu.rs"]
mod gpu;
#[path = "../common/gradients.rs"]
mod gradients;
#[path = "../common/ops_cases.rs"]
mod ops_cases;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/shifted.rs"]
mod shifted;
#[path = "../common/skip.rs"]
mod skip;
#[path = "../common/small_operators.rs"]
mod small_operators;

mod alone;
mod cpu;

mod common {
    pub use crate::{close::*, gradients::*, random::*};
}

mod actnorm;
mod alignment;
mod channels;
mod conv_relu_conv;
mod coupling;
mod custom_function;
mod filter;
mod instruction_sets;
mod inv_conv;
mod large_kernels;
mod reference;
mod singular;
mod small;
mod spline;
mod test_device;
mod threads;
