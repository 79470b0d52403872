//! The one kind of model: stages that run forth and back, and the latents that they leave.
//!
//! | file | idea |
//! |---|---|
//! | `stage` | one stage: a layer, or a split that sends a latent out |
//! | `model` | the stages in a row: likelihood, latents, samples, the TorchScript of it all |
//! | `check` | what a model refuses at its entry |
//! | `singular` | which layer has no inverse, where only a GPU knows that one has none |
//! | `finite` | which layer makes the first number that is not finite |
//! | `builder` | a model in the making |

mod builder;
mod check;
mod condition;
mod finite;
mod model;
mod singular;
mod stage;

pub use builder::MultiScaleBuilder;
pub use model::MultiScale;
pub use stage::{Stage, Staged};
