//! A model as a TorchScript program: what each of its layers is, and the file that torch runs without anything of ours.
//!
//! | part | idea |
//! |---|---|
//! | [`Script`] | one module of a program, as a layer describes itself |
//! | [`Stages`] | named scripts in the order in which they run, and the statements that run them |
//! | [`model()`] | the module of a whole model: latents, likelihood, samples |
//! | [`functions`] | what many layers use, once in a program |
//! | [`archive`] | a program with its variables as the bytes of a file |
//!
//! The text of a layer stands beside its Rust code under the same name: `flows/actnorm.rs`,
//! `flows/actnorm.torchscript.py`. It is a list of method definitions, compiled by libtorch
//! (`ffi::torchscript`). A layer has
//!
//! ```text
//! def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]    # latent value and log-det [N]
//! def invert(self, z: Tensor) -> Tensor
//! ```
//!
//! and a helper net `def forward(self, x: Tensor) -> Tensor`. Parameters are the attributes of their names, sizes and
//! options are constants that are attributes, too: so all layers of a kind have one text.

mod archive;
mod functions;
mod model;
mod names;
mod script;
mod stages;
mod text;
mod value;

pub use archive::{archive, EXTRA_FILE};
pub use functions::{functions, Solve};
pub use model::{model, split_statements, ClassesOf};
pub(crate) use names::check_name;
pub use script::Script;
pub use stages::{Stages, Statements};
pub use text::replaced;
pub use value::Value;
