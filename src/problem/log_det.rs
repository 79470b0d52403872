//! Matrices whose log-determinants are asked for.

/// One small square matrix of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatrixSizes {
    /// Rows and columns.
    pub order: i64,
    /// Where the matrix is `I + V U`: rows of U and columns of V.
    pub length: Option<i64>,
    /// How often its log-determinant is counted.
    pub copies: f64,
}

/// Elements of all matrices of a call that the kernels take: what fits beside sums and pivots into the shared memory that
/// every card has.
pub(crate) const MAX_ELEMENTS: i64 = 3500;
