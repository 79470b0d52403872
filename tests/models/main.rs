//! Whole networks: their likelihood and its gradient, their way back, and their TorchScript programs.

#[path = "../common/close.rs"]
mod close;
#[path = "../common/device.rs"]
mod device;
#[path = "../common/gradients.rs"]
mod gradients;
#[path = "../common/jacobian.rs"]
mod jacobian;
#[path = "../common/own_layer.rs"]
mod own_layer;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/variables.rs"]
mod variables;

mod support;

mod common {
    pub use crate::{close::*, device::*, gradients::*, jacobian::*, random::*, variables::*};
}

mod bits;
mod builder;
mod changes;
mod conditional;
mod families;
mod glow;
mod golden;
mod life;
mod published;
mod published_sizes;
mod rebuild;
mod torchscript;
mod torchscript_classes;
