//! The operations of the inverse convolution.

/// What a call computes. Together they are closed under differentiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Op {
    /// `inv_conv2d`: `x = A⁻¹ y`.
    Solve = 0,
    /// `_inv_conv2d_adjoint`: `x = A⁻ᵀ y`.
    SolveAdjoint = 1,
    /// `masked_conv2d`: `y = A x`.
    Conv = 2,
    /// `_masked_conv2d_adjoint`: `y = Aᵀ x`.
    ConvAdjoint = 3,
    /// `_conv2d_weight_grad`: the masked correlation of input and gradient.
    WeightGrad = 4,
    /// `_inv_conv2d_weight_grad`: minus that, the weight gradient of a solve.
    SolveWeightGrad = 5,
}

impl Op {
    /// All of them, in the order of their numbers (`ivf_op` in `bridge.h`).
    pub const ALL: [Op; 6] = [
        Op::Solve,
        Op::SolveAdjoint,
        Op::Conv,
        Op::ConvAdjoint,
        Op::WeightGrad,
        Op::SolveWeightGrad,
    ];

    /// The name as users call it; the internal operators have that of the public one that they differentiate.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Solve | Op::SolveAdjoint => "inv_conv2d",
            Op::Conv | Op::ConvAdjoint => "masked_conv2d",
            Op::WeightGrad => "_conv2d_weight_grad",
            Op::SolveWeightGrad => "_inv_conv2d_weight_grad",
        }
    }
}
