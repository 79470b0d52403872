//! The element-wise half of an affine coupling, as one pass forward and one backward.

mod cpu;

use super::form::fused_on_cpu;
use super::{recorded_gradients, Direction};
use crate::ffi::memory::{parallel_chunks2, slice, slice_mut};
use crate::ffi::{apply, grad_enabled, CustomFn, Saved};
use crate::{Error, Result};
use cpu::{BackwardSample, ForwardSample, Scalar};
use pulp::Arch;
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernel, and what runs on a GPU.
pub mod reference {
    use super::{check, Direction};
    use crate::Result;
    use tch::{Kind, Tensor};

    /// As [`super::affine_coupling`].
    ///
    /// # Errors
    /// As [`super::affine_coupling`].
    pub fn affine_coupling(
        x: &Tensor,
        net: &Tensor,
        direction: Direction,
    ) -> Result<(Tensor, Tensor)> {
        let [_, channels, ..] = check(x, net)?;
        let half = channels / 2;
        let (x1, x2) = (x.f_narrow(1, 0, half)?, x.f_narrow(1, half, half)?);
        let raw = net.f_slice(1, 0, None::<i64>, 2)?;
        let shift = net.f_slice(1, 1, None::<i64>, 2)?;
        let log_scale = raw.f_mul_scalar(0.5)?.f_tanh()?.f_mul_scalar(2.0)?;
        let (moved, log_scale) = match direction {
            Direction::Forward => (shift.f_addcmul(&x2, &log_scale.f_exp()?)?, log_scale),
            Direction::Inverse => {
                let log_scale = log_scale.f_neg()?;
                (x2.f_sub(&shift)?.f_mul(&log_scale.f_exp()?)?, log_scale)
            }
        };
        let log_det = log_scale.f_flatten(1, -1)?.f_sum_dim_intlist(
            [1i64].as_slice(),
            false,
            None::<Kind>,
        )?;
        Ok((Tensor::f_cat(&[&x1, &moved], 1)?, log_det))
    }
}

/// Scales and shifts the second half of the channels by what a net has said about the first; returns the value and
/// `log|det|` of the map taken.
///
/// ```text
/// x = (x1, x2),  raw, t = even and odd channels of net,  log_s = 2 tanh(raw / 2)
/// forward: (x1, x2 exp(log_s) + t), sum log_s      inverse: (x1, (x2 - t) exp(-log_s)), -sum log_s
/// ```
///
/// # Shapes
/// `x` and `net` `[N, C, H, W]`, even C → `[N, C, H, W]` and `[N]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn affine_coupling(x: &Tensor, net: &Tensor, direction: Direction) -> Result<(Tensor, Tensor)> {
    check(x, net)?;
    if !fused_on_cpu(x) {
        return reference::affine_coupling(x, net, direction);
    }
    let outputs = apply(Fused(direction), &[x, net])?;
    <[Tensor; 2]>::try_from(outputs)
        .map(|[value, log_det]| (value, log_det))
        .map_err(|_| Error::Torch("a coupling has two outputs".into()))
}

fn check(x: &Tensor, net: &Tensor) -> Result<[i64; 4]> {
    let wrong = |arg, text: String| Err(Error::argument("affine_coupling", arg, text));
    if !matches!(x.kind(), Kind::Float | Kind::Double) {
        let text = format!("must be float32 or float64, got {:?}", x.kind());
        return wrong("x", text);
    }
    let size = x.size();
    let nchw = match <[i64; 4]>::try_from(size.as_slice()) {
        Ok(nchw) if nchw[1] % 2 == 0 => nchw,
        _ => {
            let text = format!("must be [N, C, H, W] with even C, got {size:?}");
            return wrong("x", text);
        }
    };
    let facts = |t: &Tensor| (t.size(), t.kind(), t.device());
    if facts(x) != facts(net) {
        let text = format!("must be like `x` {:?}, got {:?}", facts(x), facts(net));
        return wrong("net", text);
    }
    Ok(nchw)
}

/// One call in the autograd graph. With `e` the factor and `y2` the result, and the incoming gradients g and l,
///
/// ```text
/// forward: dx2 = g2 e,  dt =  g2,    draw = ( g2 x2 e + l) (1 - tanh(raw / 2)^2)
/// inverse: dx2 = g2 e,  dt = -g2 e,  draw = (-g2 y2   - l) (1 - tanh(raw / 2)^2)
/// ```
struct Fused(Direction);

impl Fused {
    fn forward_on_cpu<T: Scalar>(
        &self,
        inputs: [&Tensor; 2],
        outputs: [&mut Tensor; 2],
    ) -> Result<()> {
        let (sample, pixels) = sample_sizes(inputs[0]);
        let [x, net] = [slice::<T>(inputs[0])?, slice::<T>(inputs[1])?];
        let [value, log_det] = outputs;
        let arch = Arch::new();
        parallel_chunks2(
            (slice_mut(value)?, sample),
            (slice_mut(log_det)?, 1),
            |n, value, log_det| {
                log_det[0] = T::from_f64(arch.dispatch(ForwardSample {
                    inverse: self.0 == Direction::Inverse,
                    pixels,
                    x: &x[n * sample..][..sample],
                    net: &net[n * sample..][..sample],
                    value,
                }));
            },
        );
        Ok(())
    }

    fn backward_on_cpu<T: Scalar>(
        &self,
        [x, net, grad, log_det_grad]: [&Tensor; 4],
        [x_grad, net_grad]: [&mut Tensor; 2],
    ) -> Result<()> {
        let (sample, pixels) = sample_sizes(x);
        let [x, net, grad] = [slice::<T>(x)?, slice::<T>(net)?, slice::<T>(grad)?];
        let log_det_grad = slice::<T>(log_det_grad)?;
        let arch = Arch::new();
        parallel_chunks2(
            (slice_mut(x_grad)?, sample),
            (slice_mut(net_grad)?, sample),
            |n, x_grad, net_grad| {
                arch.dispatch(BackwardSample {
                    inverse: self.0 == Direction::Inverse,
                    pixels,
                    x: &x[n * sample..][..sample],
                    net: &net[n * sample..][..sample],
                    grad: &grad[n * sample..][..sample],
                    log_det_grad: log_det_grad[n],
                    x_grad,
                    net_grad,
                });
            },
        );
        Ok(())
    }
}

/// Elements of a sample and of a plane.
fn sample_sizes(x: &Tensor) -> (usize, usize) {
    let size = x.size();
    let pixels = (size[2] * size[3]) as usize;
    (size[1] as usize * pixels, pixels)
}

impl CustomFn for Fused {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        inputs.iter().for_each(|input| saved.save(input));
        let (x, net) = (inputs[0].f_contiguous()?, inputs[1].f_contiguous()?);
        let options = (x.kind(), x.device());
        let mut value = Tensor::f_empty(x.size(), options)?;
        let mut log_det = Tensor::f_empty([x.size()[0]], options)?;
        match x.kind() {
            Kind::Double => self.forward_on_cpu::<f64>([&x, &net], [&mut value, &mut log_det])?,
            _ => self.forward_on_cpu::<f32>([&x, &net], [&mut value, &mut log_det])?,
        }
        Ok(vec![value, log_det])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        if grad_enabled() {
            let (value, log_det) = reference::affine_coupling(&saved[0], &saved[1], self.0)?;
            return recorded_gradients(&[value, log_det], grads, saved, needs);
        }
        let (x, net) = (saved[0].f_contiguous()?, saved[1].f_contiguous()?);
        let options = (x.kind(), x.device());
        let or_zeros = |grad: &Option<Tensor>, size: &[i64]| match grad {
            Some(grad) => grad.f_contiguous(),
            None => Tensor::f_zeros(size, options),
        };
        let (grad, log_det_grad) = (
            or_zeros(&grads[0], &x.size())?,
            or_zeros(&grads[1], &x.size()[..1])?,
        );
        let mut x_grad = Tensor::f_empty(x.size(), options)?;
        let mut net_grad = Tensor::f_empty(x.size(), options)?;
        let inputs = [&x, &net, &grad, &log_det_grad];
        match x.kind() {
            Kind::Double => self.backward_on_cpu::<f64>(inputs, [&mut x_grad, &mut net_grad])?,
            _ => self.backward_on_cpu::<f32>(inputs, [&mut x_grad, &mut net_grad])?,
        }
        let gradients = [x_grad, net_grad].into_iter().zip(needs);
        Ok(gradients
            .map(|(gradient, &need)| need.then_some(gradient))
            .collect())
    }
}
