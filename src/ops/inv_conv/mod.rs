//! The inverse of a convolution, and the convolution itself.
//!
//! | module | idea |
//! |---|---|
//! | [`mod@reference`] | the specification in plain tensor operations |
//! | `dispatch` | the entry point that torch's dispatcher calls: the kernel of a device |
//! | `cpu` | the kernels on the CPU |

mod cpu;
mod dispatch;
pub mod reference;

use crate::ffi::operator::call;
use crate::problem::{Corner, Geometry, Op};
use crate::Result;
use tch::Tensor;

/// Solves `A(W) x = input` for `x`, where `A(W)` is [`masked_conv2d`]: the inverse of a convolution.
///
/// For [`Corner::TopLeft`] and C channels in one group,
///
/// ```text
/// input[o,h,w] = Σ_{i,a,b} W[o,i,k-1-a,k-1-b] x[i,h-a,w-b],   0 <= a,b < k
/// ```
///
/// Where: the anchor tap (a = b = 0) is lower triangular with a non-zero diagonal, entries above it are not read and have
/// gradient zero. The solution is found from the corner outwards; `log|det ∂x/∂input| = -H W Σ_c log|W[c,c,anchor]|`.
///
/// # Shapes
/// `input` `[B, C, H, W]`, `weight` `[C, C/g, k, k]` with g = `corners.len()` groups of C/g consecutive channels, each with
/// its own corner; returns `[B, C, H, W]`. float32 or float64; any strides; B = 0 is allowed.
///
/// # Gradients
/// Exact, of any order: `u = A⁻ᵀ dL/dx`, `dL/dinput = u`, `dL/dW = -corr(x, u)`, masked. Results are bit-identical from run
/// to run on one device.
///
/// # Errors
/// Arguments that do not fit together (the message names the argument, what was expected and what was got), and
/// [`Error::Singular`](crate::Error::Singular) for a zero on the diagonal of the anchor tap. On a GPU looking for that zero
/// would mean waiting for the device: the result is infinite or NaN there, and [`cuda::check`](crate::cuda::check) returns
/// the error.
///
/// # Source
/// S. Nagar and G. Varma, "Inverse-Flow", AISTATS 2025, <https://arxiv.org/abs/2410.14634>.
///
/// ```
/// use inverse_flow::ops::{inv_conv2d, masked_conv2d, Corner};
/// use tch::{Device, Kind, Tensor};
///
/// tch::manual_seed(0);
/// let y = Tensor::randn([2, 3, 5, 7], (Kind::Double, Device::Cpu));
/// let identity = Tensor::eye(3, (Kind::Double, Device::Cpu));
/// let weight = Tensor::randn([3, 3, 3, 3], (Kind::Double, Device::Cpu)) * 0.1;
/// weight.select(3, 2).select(2, 2).copy_(&identity); // the anchor tap of the top left corner
/// let x = inv_conv2d(&y, &weight, &[Corner::TopLeft])?;
/// let again = masked_conv2d(&x, &weight, &[Corner::TopLeft])?;
/// assert!((again - y).abs().max().double_value(&[]) < 1e-12);
/// # Ok::<(), inverse_flow::Error>(())
/// ```
pub fn inv_conv2d(input: &Tensor, weight: &Tensor, corners: &[Corner]) -> Result<Tensor> {
    Geometry::check("inv_conv2d", input, weight, corners)?;
    call(Op::Solve, input, weight, corners)
}

/// The convolution `A(W) x` itself, zero-padded on the corners' sides only: the exact inverse of [`inv_conv2d`].
///
/// # Shapes
/// As [`inv_conv2d`].
///
/// # Gradients
/// Exact, of any order: `dL/dx = Aᵀ dL/dy`, `dL/dW = corr(x, dL/dy)`, masked.
///
/// # Errors
/// Arguments that do not fit together.
pub fn masked_conv2d(x: &Tensor, weight: &Tensor, corners: &[Corner]) -> Result<Tensor> {
    Geometry::check("masked_conv2d", x, weight, corners)?;
    call(Op::Conv, x, weight, corners)
}
