//! Training, evaluation and everything a run leaves on the disk.
//!
//! | file | what it holds |
//! |---|---|
//! | `config`, `presets`, `recipes` | [`RunConfig`]: what a run is made of, and named starting points |
//! | `trainer`, `session` | [`Trainer`]: epochs, validation, pictures, stopping and resuming |
//! | `learner` | [`Learner`]: one optimisation step |
//! | `adam`, `schedule` | the optimiser with its state, the learning rate of a step |
//! | `checkpoint`, `format` | [`Checkpoint`]: exact resume, written in one piece; versions of the files |
//! | `evaluate`, `sampling` | likelihood, round trips, images from the prior |
//! | `metrics`, `report`, `curves` | `metrics.jsonl`, the bar or lines that a user sees, `curves.png` |
//! | `timing` | how long a call takes |
//! | `run_dir`, `device`, `signals` | the run folder, the choice of a device, Ctrl-C |

mod adam;
mod checkpoint;
mod config;
mod curves;
mod device;
mod evaluate;
mod format;
mod learner;
pub mod metrics;
pub mod presets;
pub mod recipes;
mod report;
mod run_dir;
mod sampling;
mod schedule;
mod session;
pub mod signals;
pub mod timing;
mod trainer;

pub use adam::Adam;
pub use checkpoint::{save, save_model, save_torchscript, stored_progress, Checkpoint, Progress};
pub use config::{RunConfig, TrainConfig};
pub use curves::draw_curves;
pub use device::{DeviceChoice, Picked};
pub use evaluate::{
    to_float, Dequantize, Evaluation, Likelihood, Reconstruction, RoundTrip, RoundTripErrors,
};
pub use format::{stored_config, FileKind};
pub use learner::{Learner, Step, MAX_SKIPPED_IN_ROW};
pub use report::{say, Figures, Report};
pub use run_dir::{find_checkpoint, RunDir};
pub use sampling::{prior_latents, sample};
pub use schedule::{Decay, Schedule};
pub use session::{build_model, load_model, load_state};
pub use trainer::{Outcome, Trainer};
