//! An affine map per channel with its log-det, as one pass forward and one backward.

use super::cpu::Real;
use super::form::fused_on_cpu;
use super::{recorded_gradients, Direction};
use crate::ffi::memory::{parallel_chunks2, slice, slice_mut};
use crate::ffi::{apply, grad_enabled, CustomFn, Saved};
use crate::{Error, Result};
use pulp::Arch;
use std::ops::Sub;
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernel, and what runs on a GPU.
pub mod reference {
    use super::{check, Direction};
    use crate::Result;
    use tch::{Kind, Tensor};

    /// As [`super::channel_affine`].
    ///
    /// # Errors
    /// As [`super::channel_affine`].
    pub fn channel_affine(
        x: &Tensor,
        loc: &Tensor,
        log_scale: &Tensor,
        direction: Direction,
    ) -> Result<(Tensor, Tensor)> {
        let [n, c, h, w] = check(x, loc, log_scale)?;
        let broadcast = |t: &Tensor| t.f_view([1, c, 1, 1]);
        let sum = log_scale.f_sum(None::<Kind>)?;
        let (value, factor) = match direction {
            Direction::Forward => {
                let scale = broadcast(&log_scale.f_neg()?.f_exp()?)?;
                (x.f_sub(&broadcast(loc)?)?.f_mul(&scale)?, -h * w)
            }
            Direction::Inverse => {
                let scale = broadcast(&log_scale.f_exp()?)?;
                (broadcast(loc)?.f_addcmul(x, &scale)?, h * w)
            }
        };
        let log_det = sum.f_mul_scalar(factor as f64)?.f_expand([n], false)?;
        Ok((value, log_det))
    }
}

/// Standardises every channel, or undoes that; returns the value and `log|det|` of the map taken.
///
/// ```text
/// forward: (x - loc[c]) exp(-log_scale[c]), -H W sum log_scale      inverse: x exp(log_scale[c]) + loc[c], H W sum log_scale
/// ```
///
/// # Shapes
/// `x` `[N, C, H, W]`, `loc` and `log_scale` `[C]` → `[N, C, H, W]` and `[N]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn channel_affine(
    x: &Tensor,
    loc: &Tensor,
    log_scale: &Tensor,
    direction: Direction,
) -> Result<(Tensor, Tensor)> {
    check(x, loc, log_scale)?;
    if !fused_on_cpu(x) {
        return reference::channel_affine(x, loc, log_scale, direction);
    }
    let outputs = apply(Fused(direction), &[x, loc, log_scale])?;
    <[Tensor; 2]>::try_from(outputs)
        .map(|[value, log_det]| (value, log_det))
        .map_err(|_| Error::Torch("a channel's map has two outputs".into()))
}

fn check(x: &Tensor, loc: &Tensor, log_scale: &Tensor) -> Result<[i64; 4]> {
    let wrong = |arg, text: String| Err(Error::argument("channel_affine", arg, text));
    let size = x.size();
    let nchw = match <[i64; 4]>::try_from(size.as_slice()) {
        Ok(nchw) if matches!(x.kind(), Kind::Float | Kind::Double) => nchw,
        _ => {
            let text = format!(
                "must be [N, C, H, W], float32 or float64, got {size:?} {:?}",
                x.kind()
            );
            return wrong("x", text);
        }
    };
    for (arg, tensor) in [("loc", loc), ("log_scale", log_scale)] {
        let expected = (vec![nchw[1]], x.kind(), x.device());
        let got = (tensor.size(), tensor.kind(), tensor.device());
        if got != expected {
            return wrong(arg, format!("must be {expected:?}, got {got:?}"));
        }
    }
    Ok(nchw)
}

/// One call in the autograd graph. With the scale `s = exp(∓log_scale)`, the value y, and the incoming gradients g and l,
///
/// ```text
/// forward: dx = g s,  dloc = -s Σ g,  dlog_scale = -Σ g y - H W Σ l
/// inverse: dx = g s,  dloc =    Σ g,  dlog_scale =  Σ g x s + H W Σ l
/// ```
struct Fused(Direction);

trait Scalar: Real + Sub<Output = Self> {}
impl Scalar for f32 {}
impl Scalar for f64 {}

/// What the pass over one plane needs.
#[derive(Clone, Copy)]
struct Channel<T> {
    loc: T,
    scale: T,
    inverse: bool,
}

impl<T: Scalar> Channel<T> {
    #[inline(always)]
    fn map(self, x: &[T], value: &mut [T]) {
        for (value, &x) in value.iter_mut().zip(x) {
            *value = if self.inverse {
                x * self.scale + self.loc
            } else {
                (x - self.loc) * self.scale
            };
        }
    }

    /// Writes the gradient of x; returns `Σ g` and `Σ g (x - loc)`, or `Σ g x` for the inverse.
    #[inline(always)]
    fn gradient(self, x: &[T], grad: &[T], x_grad: &mut [T]) -> [f64; 2] {
        let center = if self.inverse { T::default() } else { self.loc };
        // eight sums of each kind, so that adding up is vectorised
        let mut sums = [[0.0; 8]; 2];
        let mut add = |lane: usize, x: T, grad: T| {
            sums[0][lane] += grad.to_f64();
            sums[1][lane] += (grad * (x - center)).to_f64();
        };
        let (xs, x_rest) = x.as_chunks::<8>();
        let (grads, grad_rest) = grad.as_chunks::<8>();
        for (x, grad) in xs.iter().zip(grads) {
            for l in 0..8 {
                add(l, x[l], grad[l]);
            }
        }
        for (&x, &grad) in x_rest.iter().zip(grad_rest) {
            add(0, x, grad);
        }
        for (x_grad, &grad) in x_grad.iter_mut().zip(grad) {
            *x_grad = grad * self.scale;
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

impl Fused {
    fn channels<T: Scalar>(&self, loc: &[T], log_scale: &[T]) -> Vec<Channel<T>> {
        let inverse = self.0 == Direction::Inverse;
        let sign = if inverse { 1.0 } else { -1.0 };
        loc.iter()
            .zip(log_scale)
            .map(|(&loc, log_scale)| Channel {
                loc,
                scale: T::from_f64((sign * log_scale.to_f64()).exp()),
                inverse,
            })
            .collect()
    }

    /// `d log-det / d log_scale`.
    fn log_det_factor(&self, pixels: usize) -> f64 {
        match self.0 {
            Direction::Forward => -(pixels as f64),
            Direction::Inverse => pixels as f64,
        }
    }

    fn forward_on_cpu<T: Scalar>(
        &self,
        pixels: usize,
        inputs: &[Tensor],
        [value, log_det]: [&mut Tensor; 2],
    ) -> Result<()> {
        let [x, loc, log_scale] = [
            slice::<T>(&inputs[0])?,
            slice(&inputs[1])?,
            slice(&inputs[2])?,
        ];
        let channels = self.channels(loc, log_scale);
        let sum: f64 = log_scale.iter().map(|s| s.to_f64()).sum();
        let sum = T::from_f64(self.log_det_factor(pixels) * sum);
        let sample = channels.len() * pixels;
        let arch = Arch::new();
        let outputs = ((slice_mut(value)?, sample), (slice_mut(log_det)?, 1));
        parallel_chunks2(outputs.0, outputs.1, |n, value, log_det| {
            log_det[0] = sum;
            let planes = x[n * sample..].chunks_exact(pixels);
            for ((channel, x), value) in channels
                .iter()
                .zip(planes)
                .zip(value.chunks_exact_mut(pixels))
            {
                arch.dispatch(|| channel.map(x, value));
            }
        });
        Ok(())
    }

    fn backward_on_cpu<T: Scalar>(
        &self,
        pixels: usize,
        saved: &[Tensor],
        [grad, log_det_grad]: [&Tensor; 2],
        [x_grad, loc_grad, log_scale_grad]: [&mut Tensor; 3],
    ) -> Result<()> {
        let [x, loc, log_scale] = [slice::<T>(&saved[0])?, slice(&saved[1])?, slice(&saved[2])?];
        let (grad, log_det_grad) = (slice::<T>(grad)?, slice::<T>(log_det_grad)?);
        let channels = self.channels(loc, log_scale);
        let (count, sample) = (channels.len(), channels.len() * pixels);
        let mut sums = vec![0.0; log_det_grad.len() * 2 * count];
        let arch = Arch::new();
        parallel_chunks2(
            (slice_mut(x_grad)?, sample),
            (&mut sums, 2 * count),
            |n, x_grad, sums| {
                for (c, channel) in channels.iter().enumerate() {
                    let plane = c * pixels..(c + 1) * pixels;
                    let (x, grad) = (
                        &x[n * sample..][plane.clone()],
                        &grad[n * sample..][plane.clone()],
                    );
                    let [of_grad, of_product] =
                        arch.dispatch(|| channel.gradient(x, grad, &mut x_grad[plane]));
                    (sums[c], sums[count + c]) = (of_grad, of_product);
                }
            },
        );
        let log_dets: f64 = log_det_grad.iter().map(|l| l.to_f64()).sum();
        let (loc_grad, log_scale_grad) =
            (slice_mut::<T>(loc_grad)?, slice_mut::<T>(log_scale_grad)?);
        for (c, channel) in channels.iter().enumerate() {
            let total = |at: usize| {
                sums.chunks_exact(2 * count)
                    .map(|sums| sums[at])
                    .sum::<f64>()
            };
            let (of_grad, of_product) = (total(c), total(count + c));
            let scale = channel.scale.to_f64();
            let (of_loc, of_scale) = if channel.inverse {
                (of_grad, of_product * scale)
            } else {
                (-scale * of_grad, -scale * of_product)
            };
            loc_grad[c] = T::from_f64(of_loc);
            log_scale_grad[c] = T::from_f64(of_scale + self.log_det_factor(pixels) * log_dets);
        }
        Ok(())
    }
}

fn contiguous(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let all = tensors.iter().map(Tensor::f_contiguous);
    Ok(all.collect::<std::result::Result<_, _>>()?)
}

fn pixels(x: &Tensor) -> usize {
    x.size()[2..].iter().product::<i64>() as usize
}

impl CustomFn for Fused {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        inputs.iter().for_each(|input| saved.save(input));
        let (inputs, pixels) = (contiguous(inputs)?, pixels(&inputs[0]));
        let options = (inputs[0].kind(), inputs[0].device());
        let mut value = Tensor::f_empty(inputs[0].size(), options)?;
        let mut log_det = Tensor::f_empty(&inputs[0].size()[..1], options)?;
        let outputs = [&mut value, &mut log_det];
        match options.0 {
            Kind::Double => self.forward_on_cpu::<f64>(pixels, &inputs, outputs)?,
            _ => self.forward_on_cpu::<f32>(pixels, &inputs, outputs)?,
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
            let (value, log_det) =
                reference::channel_affine(&saved[0], &saved[1], &saved[2], self.0)?;
            return recorded_gradients(&[value, log_det], grads, saved, needs);
        }
        let (saved, pixels) = (contiguous(saved)?, pixels(&saved[0]));
        let x = &saved[0];
        let options = (x.kind(), x.device());
        let or_zeros = |grad: &Option<Tensor>, size: &[i64]| match grad {
            Some(grad) => grad.f_contiguous(),
            None => Tensor::f_zeros(size, options),
        };
        let (grad, log_det_grad) = (
            or_zeros(&grads[0], &x.size())?,
            or_zeros(&grads[1], &x.size()[..1])?,
        );
        let incoming = [&grad, &log_det_grad];
        let mut made = [
            Tensor::f_empty(x.size(), options)?,
            saved[1].f_empty_like()?,
            saved[2].f_empty_like()?,
        ];
        let outgoing = made.each_mut();
        match options.0 {
            Kind::Double => self.backward_on_cpu::<f64>(pixels, &saved, incoming, outgoing)?,
            _ => self.backward_on_cpu::<f32>(pixels, &saved, incoming, outgoing)?,
        }
        let made = made.into_iter().zip(needs);
        Ok(made
            .map(|(gradient, &need)| need.then_some(gradient))
            .collect())
    }
}
