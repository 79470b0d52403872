//! The element-wise half of an affine coupling, as one pass forward and one backward.

mod cpu;

use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::coupling::CouplingOnGpu;
use crate::ffi::threads::parallel_chunks2;
use crate::ops::vector::Real;
use crate::problem::Direction;
use crate::words::dtype;
use crate::{Error, Result};
use cpu::{CouplingBackward, CouplingForward};
use pulp::Arch;
use tch::{Kind, Tensor};

/// The definition in plain tensor operations: the twin of the kernels.
pub mod reference {
    use super::check;
    use crate::problem::Direction;
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
    let [_, channels, height, width] = check(x, net)?;
    let pixels = (height * width) as usize;
    let coupling = CouplingCall {
        direction,
        sample: channels as usize * pixels,
        pixels,
    };
    let [value, log_det] = take(run(coupling, &[x, net])?);
    Ok((value, log_det))
}

fn check(x: &Tensor, net: &Tensor) -> Result<[i64; 4]> {
    let wrong = |arg, text: String| Err(Error::argument("affine_coupling", arg, text));
    if !matches!(x.kind(), Kind::Float | Kind::Double) {
        let text = format!("must be float32 or float64, got {}", dtype(x.kind()));
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

/// One call. With `e` the factor and `y2` the result, and the incoming gradients g and l,
///
/// ```text
/// forward: dx2 = g2 e,  dt =  g2,    draw = ( g2 x2 e + l) (1 - tanh(raw / 2)^2)
/// inverse: dx2 = g2 e,  dt = -g2 e,  draw = (-g2 y2   - l) (1 - tanh(raw / 2)^2)
/// ```
struct CouplingCall {
    direction: Direction,
    /// Elements of a sample, and of a plane.
    sample: usize,
    pixels: usize,
}

impl CouplingCall {
    fn on_gpu(&self, x: &Tensor) -> CouplingOnGpu {
        let half = self.sample / self.pixels / 2;
        CouplingOnGpu {
            sizes: [x.size()[0], half as i64, self.pixels as i64],
            direction: self.direction,
        }
    }
}

impl FusedOp for CouplingCall {
    const NAME: &'static str = "affine_coupling";

    fn takes(&self, x: &Tensor) -> bool {
        has_kernels(x)
    }

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        let size = inputs[0].size();
        vec![size.clone(), size[..1].to_vec()]
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (value, log_det) = reference::affine_coupling(inputs[0], inputs[1], self.direction)?;
        Ok(vec![value, log_det])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let ([x, net], [value, log_det]) = (take(inputs.iter().copied()), take(outputs));
        let sample = self.sample;
        let arch = Arch::new();
        parallel_chunks2((value, sample), (log_det, 1), |n, value, log_det| {
            log_det[0] = T::from_f64(arch.dispatch(CouplingForward {
                inverse: self.direction == Direction::Inverse,
                pixels: self.pixels,
                x: &x[n * sample..][..sample],
                net: &net[n * sample..][..sample],
                value,
            }));
        });
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let [x, net] = take(saved.iter().copied());
        let [grad, log_det_grad] = take(grads.iter().copied());
        let [x_grad, net_grad] = take(input_grads);
        let sample = self.sample;
        let arch = Arch::new();
        parallel_chunks2(
            (x_grad, sample),
            (net_grad, sample),
            |n, x_grad, net_grad| {
                arch.dispatch(CouplingBackward {
                    inverse: self.direction == Direction::Inverse,
                    pixels: self.pixels,
                    x: &x[n * sample..][..sample],
                    net: &net[n * sample..][..sample],
                    grad: &grad[n * sample..][..sample],
                    log_det_grad: log_det_grad[n],
                    x_grad,
                    net_grad,
                });
            },
        );
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let [x, net] = take(inputs);
        Ok(self.on_gpu(x).forward([x, net])?.into())
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        let [x, net] = take(saved);
        Ok(self.on_gpu(x).backward([x, net], take(grads))?.into())
    }
}
