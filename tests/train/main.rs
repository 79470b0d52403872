//! Steps of the optimisation, checkpoints, and the presets. Whole runs are in `tests/program`.

#[path = "../common/device.rs"]
mod device;
#[path = "../common/process.rs"]
mod process;

mod support;

mod checkpoint;
mod config;
mod learner;
mod preset_counts;
mod singular;
mod timing;
mod variable_names;
