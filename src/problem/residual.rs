//! A masked residual block: which triangle of its Jacobian is filled.

use serde::{Deserialize, Serialize};

/// Smallest slope of the direct path; twin: `kResidualMinSlope`.
pub(crate) const MIN_SLOPE: f64 = 1e-12;

/// Which triangle of the Jacobian is filled. Elements are ordered by (channel, row, column).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Triangle {
    /// Lower: an output sees earlier elements (type A).
    Lower,
    /// Upper: an output sees later elements (type B).
    Upper,
}

impl Triangle {
    /// Whether an output of one colour sees the tap (row, column) of a 3x3 filter on an input of another colour.
    pub(crate) fn sees(self, output: i64, input: i64, [row, column]: [i64; 2]) -> bool {
        // sources by (colour, row, column) relative to the output
        let offset = (input - output, row - 1, column - 1);
        match self {
            Self::Lower => offset <= (0, 0, 0),
            Self::Upper => offset >= (0, 0, 0),
        }
    }
}
