//! The emulated GPU itself: what it must refuse, as a card does, and what it must do. It runs on nothing else:
//! `scripts/emulated_gpu.sh cargo test --release --test emulated_gpu`.

#[path = "../common/process.rs"]
mod process;
#[path = "../common/skip.rs"]
mod skip;

mod bindings;
mod counts;
mod devices;
mod faults;
mod launches;
mod memory;
mod mixed;
mod operators;
mod steps;
mod training;
