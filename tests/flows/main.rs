//! Layers: the laws that each of them keeps, and what is special about it.

#[path = "../common/close.rs"]
mod close;
#[path = "../common/device.rs"]
mod device;
#[path = "../common/gpu.rs"]
mod gpu;
#[path = "../common/gradients.rs"]
mod gradients;
#[path = "../common/jacobian.rs"]
mod jacobian;
#[path = "../common/own_layer.rs"]
mod own_layer;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/shifted.rs"]
mod shifted;
#[path = "../common/skip.rs"]
mod skip;
#[path = "../common/variables.rs"]
mod variables;

mod assert;
mod cases;

mod common {
    pub use crate::{
        assert::*, close::*, device::*, gpu::*, gradients::*, jacobian::*, random::*, variables::*,
    };
}

mod actnorm;
mod butterfly;
mod condition;
mod coupling;
mod families;
mod first_batch;
mod inv_conv;
mod laws;
mod macow;
mod mintnet;
mod own;
mod precision;
mod preprocess;
mod self_norm;
mod spline;
mod torchscript;
mod woodbury;
