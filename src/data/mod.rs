//! Data sets of 8-bit images, the order they are seen in, and all randomness of a run.
//!
//! | file | what it holds |
//! |---|---|
//! | `dataset`, `pixels` | [`Dataset`]: images and labels, batches as tensors; their bytes in memory or in a file |
//! | `name`, `source`, `config` | [`DataName`], [`Source`], [`DataConfig`]: which data set, from where, how much of it |
//! | `fit` | [`Fit`], [`Background`]: how pictures of several sizes become images of one size |
//! | `load`, `look`, `survey` | [`load`], [`pack`], [`survey()`]: from a configuration to images, a packed file, or what there is |
//! | `glyphs` | procedurally drawn digits: data without a download |
//! | `noise` | uniformly random images of any size: for measurements |
//! | `mnist`, `cifar10`, `idx`, `files` | readers of the canonical files |
//! | `own` | readers of files of one's own: pictures, arrays, IDX and CIFAR in any layout |
//! | `verify`, `published` | what is right and wrong with the files of a data set |
//! | `epoch` | the order of one epoch, resumable at any batch |
//! | `augment` | random shifts and flips of training images |
//! | `evaluation_noise` | the noise of images in evaluation, which other programs can draw too |
//! | `rng` | random streams as pure functions of `(seed, purpose, index)` |

mod augment;
mod cifar10;
mod config;
mod dataset;
mod epoch;
mod evaluation_noise;
mod files;
mod fit;
mod glyphs;
mod idx;
mod load;
mod look;
mod mnist;
mod name;
mod noise;
mod own;
pub(crate) mod parallel;
mod pixels;
mod published;
mod rng;
mod source;
mod survey;
mod verify;

pub use augment::{Augmentation, Change};
pub use config::{default_data_dir, DataConfig};
pub use dataset::{Dataset, Split, Splits};
pub use epoch::Epoch;
pub use evaluation_noise::evaluation_noise;
pub use fit::{image_of, pad_of, size_text, Background, Fit};
#[cfg(feature = "pictures")]
pub use load::load_picture;
pub use load::{image_shape, load, load_split, pack};
pub use look::survey;
pub use name::DataName;
pub use own::Packing;
pub use published::{check_md5, Published};
pub use rng::{
    permutation, standard_normal, standard_normal_after, stream, stream_key, uniform_below,
    uniform_noise, Purpose,
};
pub use source::Source;
pub use survey::Survey;
pub use verify::{verify, FileReport};
