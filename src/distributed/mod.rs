//! Several processes that compute together, on one machine or on several, for training loops of your own.
//!
//! | file | what it holds |
//! |---|---|
//! | `place` | [`Place`]: which process this is of how many, as `torchrun` says it |
//! | `meeting` | how they find each other |
//! | `gpu` | which GPU a process takes |
//! | `group` | [`Group`]: sums, broadcasts, and the end of one as the end of all |
//! | `links` | what carries tensors of CPUs and of GPUs |
//! | `probe` | whether groups work on this machine |
//! | `farewell` | which rank was the cause |
//! | `heartbeat` | [`Heartbeat`]: how a process that hangs is noticed |
//! | `notes` | [`Notes`]: what outlives the processes under torchrun |
//!
//! The exchange is torch's own (c10d), over Gloo between CPUs and over NCCL between GPUs.
//!
//! A program that adds up gradients, to be started by `torchrun --no-python --nproc-per-node 2 PROGRAM`:
//!
//! ```
//! use inverse_flow::distributed::{Group, Place};
//! use std::time::Duration;
//! use tch::Tensor;
//!
//! let gradient = Tensor::from_slice(&[1.0, 2.0]);
//! if let Some(place) = Place::from_env()? {
//!     let group = Group::join(&place, Duration::from_secs(60))?;
//!     group.sum(&gradient)?; // over all processes, the same bits in each
//! }
//! # Ok::<(), inverse_flow::Error>(())
//! ```

mod farewell;
mod gpu;
mod group;
mod heartbeat;
mod links;
mod meeting;
mod notes;
mod place;
#[cfg(feature = "program")]
pub(crate) mod probe;

pub use group::Group;
pub use heartbeat::Heartbeat;
pub use notes::Notes;
pub use place::Place;
