//! The element-wise half of an affine coupling, as one pass forward and one backward.

mod arguments;
mod cpu;
pub mod reference;
mod scale;

use super::fused::{has_kernels, run, take, FusedOp};
use crate::cuda::coupling::{CouplingOnGpu, CouplingSizes};
use crate::ffi::threads::parallel_chunks2;
use crate::ops::vector::Real;
use crate::problem::{Direction, LogScale};
use crate::Result;
use arguments::check;
use cpu::{CouplingBackward, CouplingForward, CouplingShape};
use pulp::Arch;
use scale::ScaleForm;
use std::marker::PhantomData;
use tch::Tensor;

pub use crate::problem::AffineForm;

/// Scales and shifts the last channels by what a net has said about the first; returns the value and `log|det|` of the map
/// taken.
///
/// With `x = (x1, x2)`, and for each channel of x2 a number s and a shift t which the [`AffineForm`] finds in `net`:
///
/// ```text
/// Bounded:         log_s = 2 tanh(s / 2)        forward: (x1, x2 exp(log_s) + t)    inverse: (x1, (x2 - t) exp(-log_s))
/// Sigmoid:         log_s = log sigmoid(s + 2)   the same
/// ShiftedSigmoid:  log_s = log sigmoid(s + 2)   forward: (x1, (x2 + t) exp(log_s))  inverse: (x1, x2 exp(-log_s) - t)
/// Gaussian:        log_s = -s                   the same with -t
/// log-det:         sum log_s forward, and its negative in the inverse direction
/// ```
///
/// # Shapes
/// `x` `[N, C, H, W]` and `net` `[N, 2M, H, W]`, of which the last M channels of x are moved, `1 <= M <= C` →
/// `[N, C, H, W]` and `[N]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// Shapes, dtypes or devices that do not fit together.
pub fn affine_coupling(
    x: &Tensor,
    net: &Tensor,
    form: AffineForm,
    direction: Direction,
) -> Result<(Tensor, Tensor)> {
    let coupling = CouplingCall {
        sizes: check(x, net)?,
        form,
        direction,
    };
    let [value, log_det] = take(run(coupling, &[x, net])?);
    Ok((value, log_det))
}

/// One call. With `e` the factor `exp(±log_s)`, [`shifts`](AffineForm::shifts) b and a of which one is zero, and the
/// incoming gradients g and l,
///
/// ```text
/// z = (x2 + b t) e + a t
/// dx2 = g e,  dt = b g e + a g,  ds = ±(g e (x2 + b t) + l) dlog_s/ds
/// ```
struct CouplingCall {
    sizes: CouplingSizes,
    form: AffineForm,
    direction: Direction,
}

impl CouplingCall {
    fn on_gpu(&self) -> CouplingOnGpu {
        CouplingOnGpu {
            sizes: self.sizes,
            form: self.form,
            direction: self.direction,
        }
    }

    fn shape<T: Real, F>(&self) -> CouplingShape<T, F> {
        let inverse = self.direction == Direction::Inverse;
        let [before, after] = self.form.shifts(inverse).map(T::from_f64);
        CouplingShape {
            moved: self.sizes.moved as usize,
            pixels: self.sizes.pixels as usize,
            layout: self.form.layout(self.sizes.moved),
            inverse,
            before,
            after,
            form: PhantomData,
        }
    }

    /// Elements of a sample of x, and of what the net says.
    fn samples(&self) -> [usize; 2] {
        let CouplingSizes {
            kept,
            moved,
            pixels,
            ..
        } = self.sizes;
        [kept + moved, 2 * moved].map(|channels| (channels * pixels) as usize)
    }

    fn forward_as<T: Real, F: ScaleForm + Sync>(
        &self,
        [x, net]: [&[T]; 2],
        [value, log_det]: [&mut [T]; 2],
    ) {
        let [sample, said] = self.samples();
        let arch = Arch::new();
        parallel_chunks2((value, sample), (log_det, 1), |n, value, log_det| {
            log_det[0] = T::from_f64(arch.dispatch(CouplingForward {
                shape: self.shape::<T, F>(),
                x: &x[n * sample..][..sample],
                net: &net[n * said..][..said],
                value,
            }));
        });
    }

    fn backward_as<T: Real, F: ScaleForm + Sync>(
        &self,
        [x, net]: [&[T]; 2],
        [grad, log_det_grad]: [&[T]; 2],
        [x_grad, net_grad]: [&mut [T]; 2],
    ) {
        let [sample, said] = self.samples();
        let arch = Arch::new();
        parallel_chunks2((x_grad, sample), (net_grad, said), |n, x_grad, net_grad| {
            arch.dispatch(CouplingBackward {
                shape: self.shape::<T, F>(),
                x: &x[n * sample..][..sample],
                net: &net[n * said..][..said],
                grad: &grad[n * sample..][..sample],
                log_det_grad: log_det_grad[n],
                x_grad,
                net_grad,
            });
        });
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
        let (value, log_det) =
            reference::affine_coupling(inputs[0], inputs[1], self.form, self.direction)?;
        Ok(vec![value, log_det])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let (inputs, outputs) = (take(inputs.iter().copied()), take(outputs));
        match self.form.log_scale() {
            LogScale::Bounded => self.forward_as::<T, scale::Bounded>(inputs, outputs),
            LogScale::Sigmoid => self.forward_as::<T, scale::Sigmoid>(inputs, outputs),
            LogScale::Negative => self.forward_as::<T, scale::Negative>(inputs, outputs),
        }
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let saved = take(saved.iter().copied());
        let (grads, input_grads) = (take(grads.iter().copied()), take(input_grads));
        match self.form.log_scale() {
            LogScale::Bounded => self.backward_as::<T, scale::Bounded>(saved, grads, input_grads),
            LogScale::Sigmoid => self.backward_as::<T, scale::Sigmoid>(saved, grads, input_grads),
            LogScale::Negative => self.backward_as::<T, scale::Negative>(saved, grads, input_grads),
        }
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(self.on_gpu().forward(take(inputs))?.into())
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(self.on_gpu().backward(take(saved), take(grads))?.into())
    }
}
