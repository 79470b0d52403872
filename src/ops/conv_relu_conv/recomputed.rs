//! The pair by libtorch's convolutions, without keeping the middle: on a GPU, and in every precision but float32.
//!
//! ```text
//! forward    r = relu(W1 x + b),  y = W2 r                                          r is dropped
//! backward   r again,  dW2 = dy rᵀ,  dh = (W2ᵀ dy) [r > 0],  dx = W1ᵀ dh,  dW1 = dh xᵀ,  db = Σ dh
//! ```
//!
//! The price is the first convolution once more. A batch whose middle is larger than [`MIDDLE_BYTES`] goes through in
//! parts: two such middles, r and dh, are the most that a call takes beside its inputs and results.

use super::twin::{twin, with_bias};
use crate::autograd::{apply, CustomFn, Saved};
use crate::ffi::convolution::conv2d_backward;
use crate::ffi::grad_enabled;
use crate::ops::fused::{gradients_by_twin, take};
use crate::ops::net_conv::{padding, permission, Precision};
use crate::Result;
use tch::{Kind, Tensor};

/// Bytes of a middle at most, but for an image that is larger. Enough that what a part computes takes far longer than
/// its launches.
const MIDDLE_BYTES: i64 = 64 << 20;

/// One call; `inputs` are x, first, second and, where there is one, bias.
///
/// # Errors
/// What libtorch reports.
pub(super) fn run(inputs: &[&Tensor], precision: Precision) -> Result<Tensor> {
    let [y] = take(apply(Recomputed(precision), inputs)?);
    Ok(y)
}

struct Recomputed(Precision);

impl CustomFn for Recomputed {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let _allowed = permission(self.0)?;
        let mut operands = vec![self.0.narrowed(&inputs[0])?];
        for filter in &inputs[1..] {
            operands.push(self.0.narrowed_filter(filter)?);
        }
        // for the twin, and as they are multiplied; the same tensors but in bfloat16
        inputs
            .iter()
            .chain(&operands)
            .for_each(|kept| saved.save(kept));
        let pair = Pair::new(&operands);
        let parts = pair.parts()?;
        let parts = parts.iter().map(|(x, _)| pair.forward(x));
        Ok(vec![joined(parts.collect::<Result<_>>()?)?])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (inputs, operands) = saved.split_at(needs.len());
        if grad_enabled() {
            let twin = |inputs: &[Tensor]| {
                let ([x, first, second], bias) = with_bias(inputs);
                Ok(vec![twin(x, first, bias, second, self.0)?])
            };
            return gradients_by_twin(twin, grads, inputs, needs);
        }
        let Some(grad) = &grads[0] else {
            return Ok(needs.iter().map(|_| None).collect());
        };
        let _allowed = permission(self.0)?;
        let pair = Pair::new(operands);
        let (mut x_grads, mut sums) = (Vec::new(), [const { None::<Tensor> }; 3]);
        for (x, at) in pair.parts()? {
            let grad = grad.f_narrow(0, at, x.size()[0])?;
            let [x_grad, of_filters @ ..] = pair.gradients(&x, &grad, needs)?;
            x_grads.extend(x_grad);
            for ((sum, part), filter) in sums.iter_mut().zip(of_filters).zip(&inputs[1..]) {
                let part = part.map(|part| part.f_to_kind(filter.kind())).transpose()?;
                *sum = match (sum.take(), part) {
                    (Some(mut sum), Some(part)) => Some(sum.f_add_(&part)?),
                    (sum, part) => sum.or(part),
                };
            }
        }
        let x_grad = match x_grads.is_empty() {
            true => None,
            false => Some(joined(x_grads)?.f_to_kind(inputs[0].kind())?),
        };
        Ok([x_grad].into_iter().chain(sums).take(needs.len()).collect())
    }
}

/// What is multiplied, in the kind that it is multiplied in.
struct Pair<'a> {
    x: &'a Tensor,
    first: &'a Tensor,
    second: &'a Tensor,
    bias: Option<&'a Tensor>,
}

impl<'a> Pair<'a> {
    fn new(operands: &'a [Tensor]) -> Self {
        let ([x, first, second], bias) = with_bias(operands);
        Self {
            x,
            first,
            second,
            bias,
        }
    }

    /// The images in parts of nearly equal size, and the number of each one's first image.
    fn parts(&self) -> Result<Vec<(Tensor, i64)>> {
        let size = self.x.size();
        let images = size[0];
        let image =
            self.first.size()[0] * size[2] * size[3] * self.x.kind().elt_size_in_bytes() as i64;
        let most = (MIDDLE_BYTES / image.max(1)).max(1);
        let parts = (images + most - 1) / most;
        let part = (images + parts - 1) / parts;
        let starts = (0..images).step_by(part as usize);
        let parts = starts.map(|at| Ok((self.x.f_narrow(0, at, part.min(images - at))?, at)));
        parts.collect()
    }

    /// The middle of some images.
    fn middle(&self, x: &Tensor) -> Result<Tensor> {
        Ok(convolved(x, self.first, self.bias)?.f_relu_()?)
    }

    /// What some images become.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        convolved(&self.middle(x)?, self.second, None)
    }

    /// Gradients of x, first, second and bias from some images and the gradient of what they became.
    fn gradients(&self, x: &Tensor, grad: &Tensor, needs: &[bool]) -> Result<[Option<Tensor>; 4]> {
        let of_bias = needs.get(3) == Some(&true);
        let through = needs[0] || needs[1] || of_bias;
        let middle = self.middle(x)?;
        let [middle_grad, second] = conv2d_backward(
            grad,
            &middle,
            self.second,
            padding(self.second),
            [through, needs[2]],
        )?;
        let Some(hidden) = middle_grad else {
            return Ok([None, None, second, None]);
        };
        // into the gradient itself, which nobody else holds: the wide tensors are what a call's memory is made of
        let hidden = middle.f_threshold_backward_grad_input(&hidden, &hidden, 0.0)?;
        drop(middle);
        let bias = match of_bias {
            true => Some(hidden.f_sum_dim_intlist([0i64, 2, 3].as_slice(), false, None::<Kind>)?),
            false => None,
        };
        let [x, first] = conv2d_backward(
            &hidden,
            x,
            self.first,
            padding(self.first),
            [needs[0], needs[1]],
        )?;
        Ok([x, first, second, bias])
    }
}

fn convolved(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    Ok(x.f_conv2d(weight, bias, [1], [padding(weight)], [1], 1)?)
}

/// The parts of a batch as one.
fn joined(mut parts: Vec<Tensor>) -> Result<Tensor> {
    Ok(match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::f_cat(&parts, 0)?,
    })
}
