//! Affine maps per channel, as one pass forward and one backward: ActNorm with its log-det, and scaled convolutions.

mod arguments;
pub mod reference;

use self::arguments::check;
use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::actnorm::ActNormOnGpu;
use crate::ffi::threads::{parallel_chunks, parallel_chunks2};
use crate::ops::vector::Real;
use crate::problem::{ChannelForm, Direction};
use crate::Result;
use pulp::Arch;
use tch::Tensor;

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
pub fn actnorm(
    x: &Tensor,
    loc: &Tensor,
    log_scale: &Tensor,
    direction: Direction,
) -> Result<(Tensor, Tensor)> {
    let nchw = check("actnorm", x, [("loc", loc), ("log_scale", log_scale)])?;
    let actnorm = ActNormCall::new(ChannelForm::Standardise(direction), nchw);
    let [value, log_det] = take(run(actnorm, &[x, loc, log_scale])?);
    Ok((value, log_det))
}

/// What a convolution with an output scale of its own does after the sum over taps: `(x + bias[c]) exp(factor logs[c])`.
///
/// # Shapes
/// `x` `[N, C, H, W]`, `bias` and `logs` `[C]` → `[N, C, H, W]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn scale_channels(x: &Tensor, bias: &Tensor, logs: &Tensor, factor: f64) -> Result<Tensor> {
    let nchw = check("scale_channels", x, [("bias", bias), ("logs", logs)])?;
    let scale = ActNormCall::new(ChannelForm::Biased { factor }, nchw);
    let [value] = take(run(scale, &[x, bias, logs])?);
    Ok(value)
}

/// One call. With the scale `s = exp(k log_scale)`, the factors b and a of loc before and after it, of which one is zero, and
/// the incoming gradients g and l,
///
/// ```text
/// value = (x + b loc) s + a loc,   log-det = k H W Σ log_scale
/// dx = g s,   dloc = (b s + a) Σ g,   dlog_scale = k s Σ g (x + b loc) + k H W Σ l
/// ```
///
/// ActNorm is `b, a, k = -1, 0, -1` forward and `0, 1, 1` in the inverse direction.
struct ActNormCall {
    form: ChannelForm,
    /// Elements of a plane.
    pixels: usize,
}

/// What the pass over one plane needs.
#[derive(Clone, Copy)]
struct Channel<T> {
    /// What is added before the scale is applied.
    before: T,
    scale: T,
    after: T,
}

impl<T: Real> Channel<T> {
    #[inline(always)]
    fn map(self, x: &[T], value: &mut [T]) {
        for (value, &x) in value.iter_mut().zip(x) {
            *value = (x + self.before) * self.scale + self.after;
        }
    }

    /// Writes the gradient of x; returns `Σ g` and the sum of g times what is scaled.
    #[inline(always)]
    fn gradient(self, x: &[T], grad: &[T], x_grad: &mut [T]) -> [f64; 2] {
        // eight sums of each kind, so that adding up is vectorised
        let mut sums = [[0.0; 8]; 2];
        let mut add = |lane: usize, x: T, grad: T| {
            sums[0][lane] += grad.to_f64();
            sums[1][lane] += (grad * (x + self.before)).to_f64();
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

impl ActNormCall {
    fn new(form: ChannelForm, [_, _, height, width]: [i64; 4]) -> Self {
        Self {
            form,
            pixels: (height * width) as usize,
        }
    }

    fn on_gpu(&self, x: &Tensor) -> ActNormOnGpu {
        let size = x.size();
        ActNormOnGpu {
            sizes: [size[0], size[1], self.pixels as i64],
            form: self.form,
        }
    }

    fn channels<T: Real>(&self, loc: &[T], log_scale: &[T]) -> Vec<Channel<T>> {
        let [before, after] = self.form.loc().map(T::from_f64);
        let factor = self.form.factor();
        loc.iter()
            .zip(log_scale)
            .map(|(&loc, log_scale)| Channel {
                before: before * loc,
                scale: T::from_f64((factor * log_scale.to_f64()).exp()),
                after: after * loc,
            })
            .collect()
    }
}

impl FusedOp for ActNormCall {
    const NAME: &'static str = "actnorm";

    fn takes(&self, x: &Tensor) -> bool {
        has_kernels(x)
    }

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        let size = inputs[0].size();
        let mut sizes = vec![size.clone()];
        if self.form.has_log_det() {
            sizes.push(size[..1].to_vec());
        }
        sizes
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let [x, loc, log_scale] = take(inputs.iter().copied());
        match self.form {
            ChannelForm::Standardise(direction) => {
                let (value, log_det) = reference::actnorm(x, loc, log_scale, direction)?;
                Ok(vec![value, log_det])
            }
            ChannelForm::Biased { factor } => {
                Ok(vec![reference::scale_channels(x, loc, log_scale, factor)?])
            }
        }
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let [x, loc, log_scale] = take(inputs.iter().copied());
        let mut outputs = outputs.into_iter();
        let [value] = take(outputs.by_ref().take(1));
        let channels = self.channels(loc, log_scale);
        let pixels = self.pixels;
        if let Some(log_det) = outputs.next() {
            let sum: f64 = log_scale.iter().map(|s| s.to_f64()).sum();
            log_det.fill(T::from_f64(self.form.factor() * pixels as f64 * sum));
        }
        let sample = channels.len() * pixels;
        let arch = Arch::new();
        parallel_chunks(value, sample, |n, value| {
            let planes = x[n * sample..].chunks_exact(pixels);
            for ((channel, x), value) in channels
                .iter()
                .zip(planes)
                .zip(value.chunks_exact_mut(pixels))
            {
                arch.dispatch(|| channel.map(x, value));
            }
        });
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let [x, loc, log_scale] = take(saved.iter().copied());
        let grad = grads[0];
        let [x_grad, loc_grad, log_scale_grad] = take(input_grads);
        let channels = self.channels(loc, log_scale);
        let pixels = self.pixels;
        let (count, sample) = (channels.len(), channels.len() * pixels);
        let mut sums = vec![0.0; grad.len() / sample * 2 * count];
        let arch = Arch::new();
        parallel_chunks2(
            (x_grad, sample),
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
        let ([before, after], factor) = (self.form.loc(), self.form.factor());
        let log_det_grad = grads.get(1).copied().unwrap_or_default();
        let log_dets: f64 = log_det_grad.iter().map(|l| l.to_f64()).sum();
        for (c, channel) in channels.iter().enumerate() {
            let total = |at: usize| {
                sums.chunks_exact(2 * count)
                    .map(|sums| sums[at])
                    .sum::<f64>()
            };
            let (of_grad, of_product) = (total(c), total(count + c));
            let scale = channel.scale.to_f64();
            loc_grad[c] = T::from_f64((before * scale + after) * of_grad);
            let of_value = scale * of_product;
            log_scale_grad[c] = T::from_f64(factor * (of_value + pixels as f64 * log_dets));
        }
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.on_gpu(&inputs[0]).forward(take(inputs))
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        let call = self.on_gpu(&saved[0]);
        Ok(call.backward(take(saved), grads)?.into())
    }
}
