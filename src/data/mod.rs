//! Data sets of 8-bit images, the order they are seen in, and all randomness of a run.
//!
//! | file | what it holds |
//! |---|---|
//! | `dataset` | [`Dataset`]: images and labels in memory, batches as tensors |
//! | `name`, `config` | [`DataName`], [`DataConfig`]: which data set, from where, how much of it |
//! | `load` | [`load`]: from a configuration to images in memory |
//! | `glyphs` | procedurally drawn digits: data without a download |
//! | `noise` | uniformly random images of any size: for measurements |
//! | `mnist`, `cifar10`, `idx`, `files` | readers of the canonical files |
//! | `verify` | what is right and wrong with the files of a data set |
//! | `batches` | the order of one epoch, resumable at any batch |
//! | `augment` | random shifts and flips of training images |
//! | `rng` | random streams as pure functions of `(seed, purpose, index)` |

mod augment;
mod batches;
mod cifar10;
mod config;
mod dataset;
mod files;
mod glyphs;
mod idx;
mod load;
mod mnist;
mod name;
mod noise;
mod rng;
mod verify;

pub use augment::{Augmentation, Change};
pub use batches::Epoch;
pub use config::{default_data_dir, DataConfig};
pub use dataset::{Dataset, Split, Splits};
pub use load::{load, load_split};
pub use name::DataName;
pub use rng::{
    permutation, standard_normal, stream, stream_key, uniform_below, uniform_noise, Purpose,
};
pub use verify::{verify, FileReport};
