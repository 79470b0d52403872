//! ELU with its slope.

use super::arguments::check_hidden;
use super::reference;
use crate::cuda::masked_residual::{elu_backward, elu_forward};
use crate::ffi::threads::parallel_chunks;
use crate::ops::fused::{has_kernels, run, take, FusedOp};
use crate::ops::vector::Real;
use crate::Result;
use pulp::Arch;
use tch::Tensor;

/// ELU of every element, and its slope `exp(min(h, 0))` as what paths from a colour to itself are multiplied by: hidden
/// channel `a C + i` belongs to colour `i` of `colours` = C.
///
/// # Shapes
/// `h` `[N, lC, H, W]` → as h, and `[C, l, N H W]`. float32 or float64; any strides.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@reference`].
///
/// # Errors
/// A shape, a dtype or colours that do not fit.
pub fn elu_with_slope(h: &Tensor, colours: i64) -> Result<(Tensor, Tensor)> {
    let call = EluCall {
        sizes: check_hidden(h, colours)?,
    };
    let [value, slope] = take(run(call, &[h])?);
    Ok((value, slope))
}

/// One call. With the incoming gradients g of the value and s of the slope, `dh = g` where h is positive, and
/// `(g + s) exp(h)` elsewhere.
struct EluCall {
    /// Samples, channels of a colour, colours, pixels.
    sizes: [i64; 4],
}

impl EluCall {
    /// Where the slopes of one plane of h begin.
    fn slopes_of(&self, plane: usize) -> usize {
        let [n, l, c, pixels] = self.sizes.map(|size| size as usize);
        let (colour, channel, sample) = (plane % c, plane / c % l, plane / c / l);
        ((colour * l + channel) * n + sample) * pixels
    }

    /// Which plane of h has the slopes with this number.
    fn plane_of(&self, slopes: usize) -> usize {
        let [n, l, c, _] = self.sizes.map(|size| size as usize);
        let (sample, channel, colour) = (slopes % n, slopes / n % l, slopes / n / l);
        (sample * l + channel) * c + colour
    }
}

impl FusedOp for EluCall {
    const NAME: &'static str = "elu_with_slope";

    fn takes(&self, h: &Tensor) -> bool {
        has_kernels(h)
    }

    fn output_sizes(&self, inputs: &[Tensor]) -> Vec<Vec<i64>> {
        let [n, l, c, pixels] = self.sizes;
        vec![inputs[0].size(), vec![c, l, n * pixels]]
    }

    fn twin(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (value, slope) = reference::elu_with_slope(inputs[0], self.sizes[2])?;
        Ok(vec![value, slope])
    }

    fn forward<T: Real>(&self, inputs: &[&[T]], outputs: Vec<&mut [T]>) {
        let ([h], [value, slope]) = (take(inputs.iter().copied()), take(outputs));
        let pixels = self.sizes[3] as usize;
        let arch = Arch::new();
        parallel_chunks(value, pixels, |plane, value| {
            let h = &h[plane * pixels..][..pixels];
            arch.dispatch(|| {
                for (value, &h) in value.iter_mut().zip(h) {
                    let below = h.exp_m1();
                    *value = if h > T::default() { h } else { below };
                }
            });
        });
        parallel_chunks(slope, pixels, |number, slope| {
            let h = &h[self.plane_of(number) * pixels..][..pixels];
            arch.dispatch(|| {
                for (slope, &h) in slope.iter_mut().zip(h) {
                    let capped = if h > T::default() { T::default() } else { h };
                    *slope = capped.exp();
                }
            });
        });
    }

    fn backward<T: Real>(&self, saved: &[&[T]], grads: &[&[T]], input_grads: Vec<&mut [T]>) {
        let [h] = take(saved.iter().copied());
        let [value_grad, slope_grad] = take(grads.iter().copied());
        let [h_grad] = take(input_grads);
        let pixels = self.sizes[3] as usize;
        let arch = Arch::new();
        parallel_chunks(h_grad, pixels, |plane, h_grad| {
            let first = plane * pixels;
            let h = &h[first..][..pixels];
            let value_grad = &value_grad[first..][..pixels];
            let slope_grad = &slope_grad[self.slopes_of(plane)..][..pixels];
            arch.dispatch(|| {
                for p in 0..pixels {
                    let below = (value_grad[p] + slope_grad[p]) * h[p].exp();
                    h_grad[p] = if h[p] > T::default() {
                        value_grad[p]
                    } else {
                        below
                    };
                }
            });
        });
    }

    fn forward_on_gpu(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(elu_forward(&inputs[0], self.sizes)?.into())
    }

    fn backward_on_gpu(&self, saved: &[Tensor], grads: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![elu_backward(&saved[0], self.sizes, take(grads))?])
    }
}
