//! Training, evaluation and everything a run leaves on the disk.
//!
//! | file | what it holds |
//! |---|---|
//! | `config`, `resolve`, `presets`, `recipes` | [`RunConfig`]: what a run is made of, and named starting points |
//! | `change`, `changes`, `horizon` | [`Change`]: what may be changed in a run that goes on, and what was; where it ends |
//! | `session`, `parts`, `fingerprint`, `trainer`, `measure` | [`Trainer`]: puts a run together; its epochs, stopping; validation |
//! | `team`, `exchange`, `wishes` | [`Team`]: the processes of a run, their sum of a step, what they must do together |
//! | `learner`, `totals` | [`Learner`]: optimisation steps; [`Totals`]: what they measured, and which were skipped |
//! | `adam`, `averages`, `schedule` | the optimiser with its state, averages of the parameters, the learning rate of a step |
//! | `feed`, `batches`, `host_batches`, `ahead` | [`Feed`], [`Batches`]: the images and the noise of every step, made ahead of it |
//! | `classes` | which classes the images of a conditional run have |
//! | `load`, `init_from`, `initial` | models, freshly drawn or with the content of a file; [`InitFrom`]: what a new run begins with |
//! | `checkpoint`, `format` | [`Checkpoint`]: exact resume; versions of the files |
//! | `finite`, `tally` | which numbers are not finite, and where that begins; what is wrong with the values of images |
//! | `evaluate`, `log_probs`, `noised`, `round_trip` | likelihood of images and their noise, round trips |
//! | `class_likelihood` | likelihood with the class unknown, and the most likely class |
//! | `encode`, `sampling` | latents of images, images from latents |
//! | `metrics`, `watch`, `clock` | `metrics.jsonl`; [`Watch`]: what a user sees of a run; its time |
//! | `records`, `tensorboard`, `events` | where lines go: `metrics.jsonl`, and TensorBoard's event files if they are asked for |
//! | `timing`, `random_batch` | how long a call takes, and images to measure on |
//! | `run_dir`, `lock`, `device`, `stop` | the run folder, which one process at a time writes into, the choice of a device, the request to stop |
//!
//! Three steps on the built-in digits, and images that the best model of the run draws:
//!
//! ```
//! use inverse_flow::train::{find_checkpoint, load_model, presets, sample, Checkpoint, Outcome, Silent, Trainer};
//! use tch::Device;
//!
//! let mut config = presets::by_name("quick/inverse-flow")?;
//! config.data.limit = Some(20); // images of every split
//! config.train.batch_size = 10;
//! config.train.max_steps = Some(3);
//! config.train.device = "cpu".into();
//!
//! let folder = tempfile::tempdir().unwrap();
//! let run = folder.path().join("run");
//! let mut trainer = Trainer::new(config, &run, false, Box::new(Silent))?;
//! assert_eq!(trainer.run()?, Outcome::Finished);
//! println!("{:.3} bits per dimension", trainer.progress().best_bpd.unwrap());
//!
//! let checkpoint = Checkpoint::open(&find_checkpoint(&run)?)?;
//! let (model, _vs) = load_model(&checkpoint, Device::Cpu)?;
//! let (count, temperature, seed, batch) = (4, 0.7, 0, 4);
//! let images = sample(&model, count, temperature, seed, Device::Cpu, batch)?;
//! assert_eq!(images.size(), [4, 1, 28, 28]);
//! # Ok::<(), inverse_flow::Error>(())
//! ```

mod adam;
mod ahead;
mod averages;
mod batches;
mod change;
mod changes;
mod checkpoint;
mod class_likelihood;
mod classes;
mod clock;
mod config;
mod device;
mod encode;
mod evaluate;
mod events;
mod exchange;
mod feed;
mod fingerprint;
pub mod finite;
mod format;
mod horizon;
mod host_batches;
mod init_from;
mod initial;
mod learner;
mod load;
mod lock;
mod log_probs;
mod measure;
pub mod metrics;
mod noised;
mod parts;
pub mod presets;
#[cfg(feature = "program")]
mod random_batch;
pub mod recipes;
mod records;
mod resolve;
mod round_trip;
mod run_dir;
mod sampling;
mod schedule;
mod session;
pub mod stop;
mod tally;
mod team;
mod tensorboard;
pub mod timing;
mod totals;
mod trainer;
mod watch;
mod wishes;

pub use adam::Adam;
pub use ahead::Ahead;
pub use averages::Averages;
pub use batches::Batches;
pub use change::Change;
pub use checkpoint::{
    save, save_model, save_state_dict, save_torchscript, stored_progress, Checkpoint, Progress,
};
pub use class_likelihood::ClassLikelihood;
pub use classes::{check_classes, classes_of};
pub use config::{RunConfig, TrainConfig};
pub use device::{DeviceChoice, Picked};
pub use encode::EncodedImages;
pub use evaluate::{Dequantization, Evaluation};
pub use exchange::{Own, Whole};
pub use feed::{to_float, Feed};
pub use fingerprint::{bytes_fingerprint, model_fingerprint, same_everywhere};
pub use format::{stored_config, FileKind};
pub use init_from::{InitFrom, Weights};
pub use learner::{Given, Learner, Step};
pub use load::{build_model, load_into, load_model, load_part_into, load_state};
pub use log_probs::{Likelihood, LogProbs};
#[cfg(feature = "program")]
pub(crate) use random_batch::{classes_in_turn, initialize_at_random, RandomBatch};
pub use round_trip::{Reconstruction, RoundTrip, RoundTripErrors};
pub use run_dir::{find_checkpoint, RunDir};
pub use sampling::{
    grid_columns, prior_latents, prior_latents_of, row_label, sample, Decoding, Labels,
};
pub use schedule::{At, Decay, Schedule, Warmup};
pub use tally::{first_lost, Tally};
pub use team::{Part, Team};
pub use totals::{Totals, MAX_SKIPPED_IN_ROW};
pub use trainer::{Outcome, Trainer};
pub use watch::{lost_output, say, Drawn, Figures, Lines, Moment, Silent, Watch};
pub use wishes::Wishes;
