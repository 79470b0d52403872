//! The element-wise half of a coupling on the CPU, a sample at a time.
//!
//! Floor: about 50 flops an element forward and 60 backward; memory is read and written once.

use super::scale::{Scale, ScaleForm};
use crate::ops::vector::Real;
use crate::problem::Layout;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;

/// What the samples of a call have in common.
#[derive(Debug, Clone, Copy)]
pub struct CouplingShape<T, F> {
    /// Channels that are moved; those before them are kept.
    pub moved: usize,
    pub pixels: usize,
    pub layout: Layout,
    pub inverse: bool,
    /// What the shift is multiplied by before and after the scale is applied.
    pub before: T,
    pub after: T,
    pub form: PhantomData<F>,
}

impl<T, F> CouplingShape<T, F> {
    /// Where the numbers for the scale and the shift of a moved channel are in a sample of the net's output.
    #[inline(always)]
    fn said(&self, channel: usize) -> [usize; 2] {
        let of = |first: i64| (first as usize + channel * self.layout.step as usize) * self.pixels;
        [of(self.layout.scale), of(self.layout.shift)]
    }
}

/// One sample's values; its result is the log-det.
pub struct CouplingForward<'a, T, F> {
    pub shape: CouplingShape<T, F>,
    pub x: &'a [T],
    pub net: &'a [T],
    pub value: &'a mut [T],
}

impl<T: Real, F: ScaleForm> WithSimd for CouplingForward<'_, T, F> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let shape = self.shape;
        let pixels = shape.pixels;
        let kept = self.x.len() - shape.moved * pixels;
        self.value[..kept].copy_from_slice(&self.x[..kept]);
        // written down and added up afterwards: a sum inside the loop would keep it from being vectorised
        let mut linear = vec![T::default(); pixels];
        let mut small = vec![T::default(); pixels];
        let mut log_det = 0.0;
        for channel in 0..shape.moved {
            let [scale_at, shift_at] = shape.said(channel);
            let raw = &self.net[scale_at..][..pixels];
            let shift = &self.net[shift_at..][..pixels];
            let plane = kept + channel * pixels..kept + (channel + 1) * pixels;
            let x = &self.x[plane.clone()];
            let out = &mut self.value[plane];
            for p in 0..pixels {
                let scale: Scale<T> = F::of(raw[p], shape.inverse);
                linear[p] = scale.linear;
                if F::HAS_SMALL {
                    small[p] = scale.small;
                }
                out[p] = (x[p] + shape.before * shift[p]) * scale.factor + shape.after * shift[p];
            }
            log_det += sum(&linear);
            if F::HAS_SMALL {
                log_det -= sum_of_logs(&small);
            }
        }
        if shape.inverse {
            -log_det
        } else {
            log_det
        }
    }
}

/// The sum in double precision, in 8 parts that are vectorised.
#[inline(always)]
fn sum<T: Real>(values: &[T]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for l in 0..8 {
            sums[l] += chunk[l].to_f64();
        }
    }
    let rest = rest.iter().map(|value| value.to_f64());
    sums.into_iter().chain(rest).sum()
}

/// `Σ log(1 + value)` of values from 0 to 1: a logarithm for every 8 x 32 of them, the products of which are at most 2^256.
#[inline(always)]
fn sum_of_logs<T: Real>(values: &[T]) -> f64 {
    const ROUNDS: usize = 32;
    let mut total = 0.0;
    for block in values.chunks(8 * ROUNDS) {
        let (chunks, rest) = block.as_chunks::<8>();
        let mut products = [1.0_f64; 8];
        for chunk in chunks {
            for l in 0..8 {
                products[l] *= 1.0 + chunk[l].to_f64();
            }
        }
        let rest = rest.iter().map(|value| 1.0 + value.to_f64());
        // each at most 2^32
        total += products.into_iter().chain(rest).product::<f64>().ln();
    }
    total
}

/// One sample's gradients.
pub struct CouplingBackward<'a, T, F> {
    pub shape: CouplingShape<T, F>,
    pub x: &'a [T],
    pub net: &'a [T],
    pub grad: &'a [T],
    pub log_det_grad: T,
    pub x_grad: &'a mut [T],
    pub net_grad: &'a mut [T],
}

impl<T: Real, F: ScaleForm> WithSimd for CouplingBackward<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let shape = self.shape;
        let pixels = shape.pixels;
        let kept = self.x.len() - shape.moved * pixels;
        self.x_grad[..kept].copy_from_slice(&self.grad[..kept]);
        let sign = T::from_f64(if shape.inverse { -1.0 } else { 1.0 });
        for channel in 0..shape.moved {
            let [scale_at, shift_at] = shape.said(channel);
            let raw = &self.net[scale_at..][..pixels];
            let shift = &self.net[shift_at..][..pixels];
            let plane = kept + channel * pixels..kept + (channel + 1) * pixels;
            let (x, grad) = (&self.x[plane.clone()], &self.grad[plane.clone()]);
            let x_grad = &mut self.x_grad[plane];
            let [raw_grad, shift_grad] = two_planes(self.net_grad, [scale_at, shift_at], pixels);
            for p in 0..pixels {
                let scale: Scale<T> = F::of(raw[p], shape.inverse);
                let through = grad[p] * scale.factor;
                let of_log_scale = through * (x[p] + shape.before * shift[p]) + self.log_det_grad;
                x_grad[p] = through;
                shift_grad[p] = shape.before * through + shape.after * grad[p];
                raw_grad[p] = sign * of_log_scale * scale.slope;
            }
        }
    }
}

/// Two planes of `pixels` elements that begin at different places.
#[inline(always)]
fn two_planes<T>(all: &mut [T], [a, b]: [usize; 2], pixels: usize) -> [&mut [T]; 2] {
    let (low, high) = all.split_at_mut(a.max(b));
    let (low, high) = (&mut low[a.min(b)..][..pixels], &mut high[..pixels]);
    if a < b {
        [low, high]
    } else {
        [high, low]
    }
}
