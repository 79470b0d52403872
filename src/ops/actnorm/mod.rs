//! An affine map per channel with its log-det, as one pass forward and one backward.

use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::actnorm::ActNormOnGpu;
use crate::ffi::threads::parallel_chunks2;
use crate::ops::vector::Real;
use crate::problem::Direction;
use crate::words::{device, dtype};
use crate::{Error, Result};
use pulp::Arch;
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernels.
pub mod reference {
    use super::check;
    use crate::problem::Direction;
    use crate::Result;
    use tch::{Kind, Tensor};

    /// As [`super::actnorm`].
    ///
    /// # Errors
    /// As [`super::actnorm`].
    pub fn actnorm(
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
pub fn actnorm(
    x: &Tensor,
    loc: &Tensor,
    log_scale: &Tensor,
    direction: Direction,
) -> Result<(Tensor, Tensor)> {
    let [_, _, height, width] = check(x, loc, log_scale)?;
    let actnorm = ActNormCall {
        direction,
        pixels: (height * width) as usize,
    };
    let [value, log_det] = take(run(actnorm, &[x, loc, log_scale])?);
    Ok((value, log_det))
}

fn check(x: &Tensor, loc: &Tensor, log_scale: &Tensor) -> Result<[i64; 4]> {
    let wrong = |arg, text: String| Err(Error::argument("actnorm", arg, text));
    let size = x.size();
    let nchw = match <[i64; 4]>::try_from(size.as_slice()) {
        Ok(nchw) if matches!(x.kind(), Kind::Float | Kind::Double) => nchw,
        _ => {
            let text = format!(
                "must be [N, C, H, W], float32 or float64, got {size:?} {}",
                dtype(x.kind())
            );
            return wrong("x", text);
        }
    };
    for (arg, tensor) in [("loc", loc), ("log_scale", log_scale)] {
        let expected = (vec![nchw[1]], x.kind(), x.device());
        let got = (tensor.size(), tensor.kind(), tensor.device());
        if got != expected {
            let [expected, got] = [expected, got]
                .map(|(size, kind, on)| format!("{size:?} {} on {}", dtype(kind), device(on)));
            return wrong(arg, format!("must be {expected}, got {got}"));
        }
    }
    Ok(nchw)
}

/// One call. With the scale `s = exp(∓log_scale)`, the value y, and the incoming gradients g and l,
///
/// ```text
/// forward: dx = g s,  dloc = -s Σ g,  dlog_scale = -Σ g y - H W Σ l
/// inverse: dx = g s,  dloc =    Σ g,  dlog_scale =  Σ g x s + H W Σ l
/// ```
struct ActNormCall {
    direction: Direction,
    /// Elements of a plane.
    pixels: usize,
}

/// What the pass over one plane needs.
#[derive(Clone, Copy)]
struct Channel<T> {
    loc: T,
    scale: T,
    inverse: bool,
}

impl<T: Real> Channel<T> {
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

impl ActNormCall {
    fn on_gpu(&self, x: &Tensor) -> ActNormOnGpu {
        let size = x.size();
        ActNormOnGpu {
            sizes: [size[0], size[1], self.pixels as i64],
            direction: self.direction,
        }
    }

    fn channels<T: Real>(&self, loc: &[T], log_scale: &[T]) -> Vec<Channel<T>> {
        let inverse = self.direction == Direction::Inverse;
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
    fn log_det_factor(&self) -> f64 {
        match self.direction {
            Direction::Forward => -(self.pixels as f64),
            Direction::Inverse => self.pixels as f64,
        }
    }
}

impl FusedOp for ActNormCall {
    const NAME: &'static str = "actnorm";

    fn takes(&self, x: &Tensor) -> bool {
        has_kernels(x)
    }

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        let size = inputs[0].size();
        vec![size.clone(), size[..1].to_vec()]
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (value, log_det) = reference::actnorm(inputs[0], inputs[1], inputs[2], self.direction)?;
        Ok(vec![value, log_det])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let [x, loc, log_scale] = take(inputs.iter().copied());
        let [value, log_det] = take(outputs);
        let (channels, pixels) = (self.channels(loc, log_scale), self.pixels);
        let sum: f64 = log_scale.iter().map(|s| s.to_f64()).sum();
        let sum = T::from_f64(self.log_det_factor() * sum);
        let sample = channels.len() * pixels;
        let arch = Arch::new();
        parallel_chunks2((value, sample), (log_det, 1), |n, value, log_det| {
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
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let [x, loc, log_scale] = take(saved.iter().copied());
        let [grad, log_det_grad] = take(grads.iter().copied());
        let [x_grad, loc_grad, log_scale_grad] = take(input_grads);
        let (channels, pixels) = (self.channels(loc, log_scale), self.pixels);
        let (count, sample) = (channels.len(), channels.len() * pixels);
        let mut sums = vec![0.0; log_det_grad.len() * 2 * count];
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
        let log_dets: f64 = log_det_grad.iter().map(|l| l.to_f64()).sum();
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
            log_scale_grad[c] = T::from_f64(of_scale + self.log_det_factor() * log_dets);
        }
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(self.on_gpu(&inputs[0]).forward(take(inputs))?.into())
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        let call = self.on_gpu(&saved[0]);
        Ok(call.backward(take(saved), take(grads))?.into())
    }
}
