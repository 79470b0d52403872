//! The names of the budgets.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a whole table may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetName {
    /// Seconds a row: everything runs once, no number means anything.
    Smoke,
    /// About an hour on one GPU: equal minutes for every row.
    Short,
    /// Equal minutes for every row on a CPU, the rows of the common backbone only.
    ShortCpu,
    /// Equal numbers of training steps for every row, whatever else the machine does meanwhile.
    Steps,
    /// Each row's own recipe over several seeds, to the paper's bits per dimension.
    Full,
}

impl BudgetName {
    /// All budgets.
    pub const ALL: [Self; 5] = [
        Self::Smoke,
        Self::Short,
        Self::ShortCpu,
        Self::Steps,
        Self::Full,
    ];
}

impl fmt::Display for BudgetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smoke => "smoke",
            Self::Short => "short",
            Self::ShortCpu => "short-cpu",
            Self::Steps => "steps",
            Self::Full => "full",
        })
    }
}

impl FromStr for BudgetName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|budget| budget.to_string() == text);
        found.ok_or_else(|| {
            Error::config(format!(
                "unknown budget `{text}`: choose smoke, short, short-cpu, steps or full"
            ))
        })
    }
}
