//! Steps of the optimisation, checkpoints, and the presets. Whole runs are in `tests/program`.

#[path = "../common/device.rs"]
mod device;
#[path = "../common/gpu.rs"]
mod gpu;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/skip.rs"]
mod skip;

mod support;

mod averages;
mod checkpoint;
mod config;
mod evaluate;
mod feed;
mod learner;
mod preset_counts;
mod presets_step;
mod singular;
mod timing;
mod variable_names;
