//! Groups of processes: each rank is this test program, started once more for the one test.

#[path = "../common/device.rs"]
mod device;
#[path = "../common/gpu.rs"]
mod gpu;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/skip.rs"]
mod skip;

mod ranks;

mod bench;
mod endings;
mod exchange;
mod faults;
mod gpus;
mod meeting;
mod program;
mod together;
