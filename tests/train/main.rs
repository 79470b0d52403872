//! Steps of the optimisation, checkpoints, and the presets. Whole runs are in `tests/program`.

#[path = "../common/device.rs"]
mod device;

mod support;

mod checkpoint;
mod config;
mod learner;
mod preset_counts;
mod variable_names;
