//! The two halves of a row, which may be measured at different times, by different programs and on different machines.

use super::Environment;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Half of what is measured of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// Training, and the likelihood of the test split: other work on the machine changes how long it takes, not what
    /// it finds.
    Likelihood,
    /// Times and memory, for which the machine has to be quiet.
    Times,
}

impl Pass {
    /// Both halves.
    pub const ALL: [Self; 2] = [Self::Likelihood, Self::Times];
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Likelihood => "likelihood",
            Self::Times => "times",
        })
    }
}

impl FromStr for Pass {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|pass| pass.to_string() == text);
        found.ok_or_else(|| {
            Error::config(format!("unknown pass `{text}`: choose likelihood or times"))
        })
    }
}

/// What each half of a row was measured on, oldest first: a row that is continued by another program or on another
/// machine has several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Passes {
    /// Training and evaluation.
    pub likelihood: Vec<Environment>,
    /// Times and memory.
    pub times: Vec<Environment>,
}

impl Passes {
    /// What a half was measured on.
    pub fn of(&self, pass: Pass) -> &[Environment] {
        match pass {
            Pass::Likelihood => &self.likelihood,
            Pass::Times => &self.times,
        }
    }

    /// Adds what a half is measured on from now on.
    pub(super) fn add(&mut self, pass: Pass, environment: &Environment) {
        let all = match pass {
            Pass::Likelihood => &mut self.likelihood,
            Pass::Times => &mut self.times,
        };
        if !all.last().is_some_and(|last| last.is_like(environment)) {
            all.push(environment.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_noted_once_as_long_as_it_does_not_change() {
        let environment = |commit: &str| Environment {
            commit: commit.into(),
            ..Environment::default()
        };
        let later = Environment {
            facts: vec![("memory".into(), "1 GiB available".into())],
            ..environment("a")
        };
        let mut passes = Passes::default();
        for found in [environment("a"), later, environment("b")] {
            passes.add(Pass::Likelihood, &found);
        }
        assert_eq!(
            passes.of(Pass::Likelihood),
            [environment("a"), environment("b")]
        );
        assert!(passes.of(Pass::Times).is_empty());
        assert!("speed".parse::<Pass>().is_err());
        for pass in Pass::ALL {
            assert_eq!(pass.to_string().parse::<Pass>().unwrap(), pass);
        }
    }
}
