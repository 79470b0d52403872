//! What the process ends with.

use crate::Error;
use std::fmt;

/// Something went wrong here.
pub const FAILED: u8 = 1;
/// What was asked for cannot be.
pub const WRONG_USAGE: u8 = 2;

/// An end that the user has read about already, here or from another rank: a failure, or a signal.
#[derive(Debug)]
pub struct Told {
    /// What the process ends with.
    pub exit_code: u8,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end has been told before")
    }
}

impl std::error::Error for Told {}

/// A configuration that cannot be is the caller's; everything else went wrong here.
pub fn exit_code(err: &anyhow::Error) -> u8 {
    if let Some(told) = err.downcast_ref::<Told>() {
        return told.exit_code;
    }
    match err.downcast_ref::<Error>() {
        Some(Error::Config(_)) => WRONG_USAGE,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_configurations_are_wrong_usage() {
        assert_eq!(exit_code(&Error::config("x").into()), WRONG_USAGE);
        assert_eq!(exit_code(&Error::Cuda("x".into()).into()), FAILED);
    }
}
