//! Two convolutions with a ReLU between them, whose wide middle never leaves the cache.
//!
//! The nets of couplings widen a few channels to 512 and narrow them again. Written as three operations, the middle is
//! 40 to 100 MB a layer and batch, is kept for the backward pass, and its memory traffic costs several times the
//! arithmetic. Here a thread takes the pixels of a few images, computes the middle in chunks of channels that fit into
//! its cache, uses each chunk at once, and computes it again in the backward pass. On a GPU libtorch's convolutions are the
//! better ones: the middle is written there, but dropped with the call, and computed again in the backward pass too.

mod cpu;
mod panels;
mod product;
mod recomputed;
mod shift;
mod sizes;
mod sweep;
mod twin;

use super::fused::{is_eager, run, take, FusedOp};
use super::net_conv::Precision;
use crate::ops::vector::Real;
use crate::Result;
use sizes::ConvSizes;
use tch::{Device, Tensor};
use twin::{twin, with_bias};

/// The definition in plain tensor operations: the twin of the kernel.
pub mod reference {
    use super::sizes::ConvSizes;
    use super::twin::twin;
    use super::Precision;
    use crate::Result;
    use tch::Tensor;

    /// As [`super::conv_relu_conv`].
    ///
    /// # Errors
    /// As [`super::conv_relu_conv`].
    pub fn conv_relu_conv(
        x: &Tensor,
        first: &Tensor,
        bias: Option<&Tensor>,
        second: &Tensor,
    ) -> Result<Tensor> {
        ConvSizes::check(x, first, bias, second)?;
        twin(x, first, bias, second, Precision::Float32)
    }
}

/// `conv(relu(conv(x, first) + bias), second)`, both convolutions with zero padding that keeps the size of the image.
///
/// # Shapes
/// `x` `[N, C, H, W]`, `first` `[M, C, k, k]`, `bias` `[M]`, `second` `[C', M, k', k']` with odd k, k' → `[N, C', H, W]`.
/// float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`]. On the CPU values and first derivatives are bit-identical from
/// run to run, for any number of threads and wherever the arguments lie in memory.
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn conv_relu_conv(
    x: &Tensor,
    first: &Tensor,
    bias: Option<&Tensor>,
    second: &Tensor,
) -> Result<Tensor> {
    conv_relu_conv_in(x, first, bias, second, Precision::Float32)
}

/// [`conv_relu_conv`] in a precision of choice; in bfloat16 the result is bfloat16, and `x` may be.
pub(crate) fn conv_relu_conv_in(
    x: &Tensor,
    first: &Tensor,
    bias: Option<&Tensor>,
    second: &Tensor,
    precision: Precision,
) -> Result<Tensor> {
    let precision = precision.of(x);
    let mut inputs = vec![x, first, second];
    inputs.extend(bias);
    if precision == Precision::Float32 {
        let shape = ConvSizes::check(x, first, bias, second)?;
        if x.device() == Device::Cpu {
            let [y] = take(run(ConvReluConvCall(shape), &inputs)?);
            return Ok(y);
        }
    }
    if is_eager() || x.numel() == 0 {
        return twin(x, first, bias, second, precision);
    }
    recomputed::run(&inputs, precision)
}

/// One call on the CPU; its tensors are x, first, second and, where there is one, bias.
///
/// With `h = W1 x + b`, `r = relu(h)`, `y = W2 r` and the filters as matrices over patches:
///
/// ```text
/// dr = W2ᵀ dy,   dh = dr [r > 0],   dx = W1ᵀ dh,   dW1 = dh xᵀ,   db = Σ dh,   dW2 = dy rᵀ
/// ```
struct ConvReluConvCall(ConvSizes);

impl FusedOp for ConvReluConvCall {
    const NAME: &'static str = "conv_relu_conv";

    fn output_sizes(&self, _inputs: &[Tensor]) -> Vec<Vec<i64>> {
        let shape = &self.0;
        let size = [shape.images, shape.outputs, shape.height, shape.width];
        vec![size.map(|s| s as i64).to_vec()]
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let bias = inputs.get(3).copied();
        let y = reference::conv_relu_conv(inputs[0], inputs[1], bias, inputs[2])?;
        Ok(vec![y])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let ([x, first, second], bias) = with_bias(inputs.iter().copied());
        let [y] = take(outputs);
        cpu::Pair::new(&self.0, first, bias, second).forward(x, y);
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let ([x, first, second], bias) = with_bias(saved.iter().copied());
        let [y_grad] = take(grads.iter().copied());
        let ([x_grad, first_grad, second_grad], bias_grad) = with_bias(input_grads);
        cpu::Pair::new(&self.0, first, bias, second).backward(
            x,
            y_grad,
            cpu::Gradients {
                x: x_grad,
                first: first_grad,
                second: second_grad,
                bias: bias_grad,
            },
        );
    }
}
