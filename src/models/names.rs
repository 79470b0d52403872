//! What the flow families are called.

use crate::words::did_you_mean;
use crate::Error;

/// The names of all flow families.
pub const MODELS: &[&str] = &[
    "inverse-flow",
    "snf",
    "emerging",
    "finc",
    "cinc",
    "woodbury",
    "butterfly",
    "macow",
    "mintnet",
];

/// The error for a family that there is not.
pub(super) fn unknown(model: &str) -> Error {
    Error::config(format!(
        "unknown model {model:?}{}: expected one of {}",
        did_you_mean(model, MODELS.iter().copied()),
        MODELS.join(", ")
    ))
}
