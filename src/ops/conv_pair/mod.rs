//! Two convolutions with a ReLU between them, whose wide middle never leaves the cache.
//!
//! The nets of couplings widen a few channels to 512 and narrow them again. Written as three operations, the middle is
//! 40 to 100 MB a layer and batch, is kept for the backward pass, and its memory traffic costs several times the
//! arithmetic. Here a thread takes the pixels of a few images, computes the middle in chunks of channels that fit into
//! its cache, uses each chunk at once, and computes it again in the backward pass.

mod cpu;
mod panels;
mod product;
mod shift;
mod sweep;

use super::form::fused_on_cpu;
use super::recorded_gradients;
use crate::ffi::memory::{slice, slice_mut};
use crate::ffi::{apply, grad_enabled, CustomFn, Saved};
use crate::ops::cpu::Real;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernel, and what runs on a GPU, where libtorch's
/// convolutions are the better ones.
pub mod reference {
    use super::Shape;
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
        Shape::check(x, first, bias, second)?;
        let pad = |weight: &Tensor| (weight.size()[3] - 1) / 2;
        let middle = x
            .f_conv2d(first, bias, [1], [pad(first)], [1], 1)?
            .f_relu_()?; // in place: the convolution does not need its own result for its gradient
        Ok(middle.f_conv2d(second, None::<Tensor>, [1], [pad(second)], [1], 1)?)
    }
}

/// `conv(relu(conv(x, first) + bias), second)`, both convolutions with zero padding that keeps the size of the image.
///
/// # Shapes
/// `x` `[N, C, H, W]`, `first` `[M, C, k, k]`, `bias` `[M]`, `second` `[C', M, k', k']` with odd k, k' → `[N, C', H, W]`.
/// float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`]. On the CPU results are bit-identical from run to run, for any
/// number of threads.
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn conv_relu_conv(
    x: &Tensor,
    first: &Tensor,
    bias: Option<&Tensor>,
    second: &Tensor,
) -> Result<Tensor> {
    let shape = Shape::check(x, first, bias, second)?;
    if !fused_on_cpu(x) {
        return reference::conv_relu_conv(x, first, bias, second);
    }
    let mut inputs = vec![x, first, second];
    inputs.extend(bias);
    apply(Fused(shape), &inputs)?
        .pop()
        .ok_or_else(|| Error::Torch("a pair of convolutions has an output".into()))
}

/// Sizes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    images: usize,
    inputs: usize,
    middle: usize,
    outputs: usize,
    height: usize,
    width: usize,
    /// Sides of the two filters.
    sides: [usize; 2],
    bias: bool,
}

impl Shape {
    fn check(x: &Tensor, first: &Tensor, bias: Option<&Tensor>, second: &Tensor) -> Result<Self> {
        let wrong = |arg, text: String| Err(Error::argument("conv_relu_conv", arg, text));
        let options = (x.kind(), x.device());
        if !matches!(options.0, Kind::Float | Kind::Double) {
            return wrong(
                "x",
                format!("must be float32 or float64, got {:?}", options.0),
            );
        }
        let sizes = [x, first, second].map(Tensor::size);
        let [[n, c, h, w], [m, c1, k, k_], [c2, m2, l, l_]] =
            match sizes.each_ref().map(|s| <[i64; 4]>::try_from(s.as_slice())) {
                [Ok(x), Ok(first), Ok(second)] => [x, first, second],
                _ => {
                    return wrong(
                        "x",
                        format!("and the filters must have 4 dimensions, got {sizes:?}"),
                    )
                }
            };
        if c1 != c || k != k_ || k % 2 == 0 {
            return wrong(
                "first",
                format!("must be [M, {c}, k, k] with odd k, got {:?}", sizes[1]),
            );
        }
        if m2 != m || l != l_ || l % 2 == 0 {
            return wrong(
                "second",
                format!("must be [C', {m}, k, k] with odd k, got {:?}", sizes[2]),
            );
        }
        if bias.is_some_and(|bias| bias.size() != [m]) {
            return wrong("bias", format!("must be [{m}]"));
        }
        for (arg, tensor) in [
            ("first", Some(first)),
            ("second", Some(second)),
            ("bias", bias),
        ] {
            let got = tensor.map_or(options, |t| (t.kind(), t.device()));
            if got != options {
                return wrong(
                    arg,
                    format!(
                        "must be {:?} on {:?} like `x`, got {:?} on {:?}",
                        options.0, options.1, got.0, got.1
                    ),
                );
            }
        }
        Ok(Self {
            images: n as usize,
            inputs: c as usize,
            middle: m as usize,
            outputs: c2 as usize,
            height: h as usize,
            width: w as usize,
            sides: [k as usize, l as usize],
            bias: bias.is_some(),
        })
    }

    fn pixels(&self) -> usize {
        self.height * self.width
    }
}

/// One call in the autograd graph; its tensors are x, first, second and, where there is one, bias.
///
/// With `h = W1 x + b`, `r = relu(h)`, `y = W2 r` and the filters as matrices over patches:
///
/// ```text
/// dr = W2ᵀ dy,   dh = dr [r > 0],   dx = W1ᵀ dh,   dW1 = dh xᵀ,   db = Σ dh,   dW2 = dy rᵀ
/// ```
struct Fused(Shape);

impl Fused {
    fn forward_on_cpu<T: Real>(&self, tensors: &[Tensor], y: &mut Tensor) -> Result<()> {
        let bias = tensors.get(3).map(slice::<T>).transpose()?;
        let [x, first, second] = [
            slice(&tensors[0])?,
            slice(&tensors[1])?,
            slice(&tensors[2])?,
        ];
        cpu::Pair::new(&self.0, first, bias, second).forward(x, slice_mut(y)?);
        Ok(())
    }

    fn backward_on_cpu<T: Real>(
        &self,
        tensors: &[Tensor],
        grad: &Tensor,
        grads: &mut [Tensor],
    ) -> Result<()> {
        let bias = tensors.get(3).map(slice::<T>).transpose()?;
        let [x, first, second] = [
            slice(&tensors[0])?,
            slice(&tensors[1])?,
            slice(&tensors[2])?,
        ];
        let (filters, bias_grad) = grads.split_at_mut(3);
        let [dx, dfirst, dsecond] = filters else {
            return Err(Error::Torch("three gradients were made".into()));
        };
        let bias_grad = bias_grad.first_mut().map(slice_mut::<T>).transpose()?;
        cpu::Pair::new(&self.0, first, bias, second).backward(
            x,
            slice(grad)?,
            cpu::Gradients {
                x: slice_mut(dx)?,
                first: slice_mut(dfirst)?,
                second: slice_mut(dsecond)?,
                bias: bias_grad,
            },
        );
        Ok(())
    }
}

fn contiguous(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(tensors
        .iter()
        .map(Tensor::f_contiguous)
        .collect::<std::result::Result<_, _>>()?)
}

impl CustomFn for Fused {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        inputs.iter().for_each(|input| saved.save(input));
        let shape = &self.0;
        let size = [shape.images, shape.outputs, shape.height, shape.width].map(|s| s as i64);
        let mut y = Tensor::f_empty(size, (inputs[0].kind(), inputs[0].device()))?;
        let inputs = contiguous(inputs)?;
        match y.kind() {
            Kind::Double => self.forward_on_cpu::<f64>(&inputs, &mut y)?,
            _ => self.forward_on_cpu::<f32>(&inputs, &mut y)?,
        }
        Ok(vec![y])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(grad) = &grads[0] else {
            return Ok(needs.iter().map(|_| None).collect());
        };
        if grad_enabled() {
            let y = reference::conv_relu_conv(&saved[0], &saved[1], saved.get(3), &saved[2])?;
            return recorded_gradients(&[y], grads, saved, needs);
        }
        let tensors = contiguous(saved)?;
        let mut gradients = tensors
            .iter()
            .map(Tensor::f_empty_like)
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let grad = grad.f_contiguous()?;
        match grad.kind() {
            Kind::Double => self.backward_on_cpu::<f64>(&tensors, &grad, &mut gradients)?,
            _ => self.backward_on_cpu::<f32>(&tensors, &grad, &mut gradients)?,
        }
        Ok(gradients
            .into_iter()
            .zip(needs)
            .map(|(g, &need)| need.then_some(g))
            .collect())
    }
}
