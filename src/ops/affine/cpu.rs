//! The element-wise half of a coupling on the CPU, a sample at a time.
//!
//! Floor: about 50 flops an element forward and 60 backward; memory is read and written once.

use crate::ops::cpu::Real;
use pulp::{Simd, WithSimd};
use std::ops::{Div, Sub};

/// Element types of the kernel.
pub trait Scalar: Real + Sub<Output = Self> + Div<Output = Self> + PartialOrd {
    /// `e^self`.
    fn exp(self) -> Self;
}

impl Scalar for f64 {
    fn exp(self) -> Self {
        f64::exp(self)
    }
}

impl Scalar for f32 {
    /// `2^n p(r)` with `x = n ln 2 + r` and p the Taylor polynomial, `|r| <= ln(2) / 2`: error below 2 units in the last
    /// place, and plain arithmetic that is vectorised. Results beyond the normal numbers stop at the last one.
    #[inline(always)]
    fn exp(self) -> Self {
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer, in the low bits
        const LN2_HIGH: f32 = 0.693_359_4; // 10 bits, so that its product with n is exact
        const LN2_LOW: f32 = -2.121_944_4e-4;
        let x = if self > 88.0 { 88.0 } else { self };
        let x = if x < -87.0 { -87.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = (x - n * LN2_HIGH) - n * LN2_LOW;
        let mut p = 1.0 / 5040.0;
        for coefficient in [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            p = p * r + coefficient;
        }
        let exponent = shifted
            .to_bits()
            .wrapping_sub(ROUND.to_bits())
            .wrapping_add(127);
        p * f32::from_bits(exponent << 23)
    }
}

/// `tanh(raw / 2)`.
#[inline(always)]
fn half_tanh<T: Scalar>(raw: T) -> T {
    let one = T::from_f64(1.0);
    one - T::from_f64(2.0) / (raw.exp() + one)
}

/// One sample's values; its result is the log-det.
pub struct ForwardSample<'a, T> {
    pub inverse: bool,
    pub pixels: usize,
    pub x: &'a [T],
    pub net: &'a [T],
    pub value: &'a mut [T],
}

impl<T: Scalar> WithSimd for ForwardSample<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let (kept, moved) = self.value.split_at_mut(self.x.len() / 2);
        let (x1, x2) = self.x.split_at(kept.len());
        kept.copy_from_slice(x1);
        let two = T::from_f64(2.0);
        let planes = self.net.chunks_exact(2 * self.pixels);
        let halves = moved
            .chunks_exact_mut(self.pixels)
            .zip(x2.chunks_exact(self.pixels));
        let mut log_scales = vec![T::default(); self.pixels];
        let mut log_det = 0.0;
        for (net, (out, x)) in planes.zip(halves) {
            let (raw, shift) = net.split_at(self.pixels);
            // written down and added up afterwards: a sum inside the loop would keep it from being vectorised
            for p in 0..self.pixels {
                let log_scale = two * half_tanh(raw[p]);
                log_scales[p] = log_scale;
                out[p] = if self.inverse {
                    (x[p] - shift[p]) * (T::default() - log_scale).exp()
                } else {
                    x[p] * log_scale.exp() + shift[p]
                };
            }
            log_det += sum(&log_scales);
        }
        if self.inverse {
            -log_det
        } else {
            log_det
        }
    }
}

/// The sum in double precision, in 8 parts that are vectorised.
#[inline(always)]
fn sum<T: Scalar>(values: &[T]) -> f64 {
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

/// One sample's gradients.
pub struct BackwardSample<'a, T> {
    pub inverse: bool,
    pub pixels: usize,
    pub x: &'a [T],
    pub net: &'a [T],
    pub grad: &'a [T],
    pub log_det_grad: T,
    pub x_grad: &'a mut [T],
    pub net_grad: &'a mut [T],
}

impl<T: Scalar> WithSimd for BackwardSample<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let half = self.x.len() / 2;
        let (kept, moved) = self.x_grad.split_at_mut(half);
        kept.copy_from_slice(&self.grad[..half]);
        let (zero, one, two) = (T::default(), T::from_f64(1.0), T::from_f64(2.0));
        for channel in 0..half / self.pixels {
            let plane = channel * self.pixels..(channel + 1) * self.pixels;
            let (x, grad) = (
                &self.x[half..][plane.clone()],
                &self.grad[half..][plane.clone()],
            );
            let net = &self.net[2 * plane.start..2 * plane.end];
            let net_grad = &mut self.net_grad[2 * plane.start..2 * plane.end];
            let (raw, shift) = net.split_at(self.pixels);
            let (raw_grad, shift_grad) = net_grad.split_at_mut(self.pixels);
            let x_grad = &mut moved[plane];
            for p in 0..self.pixels {
                let tanh = half_tanh(raw[p]);
                let log_scale = two * tanh;
                let factor = if self.inverse {
                    zero - log_scale
                } else {
                    log_scale
                }
                .exp();
                let through = grad[p] * factor;
                x_grad[p] = through;
                shift_grad[p] = if self.inverse {
                    zero - through
                } else {
                    grad[p]
                };
                let of_log_scale = if self.inverse {
                    zero - through * (x[p] - shift[p]) - self.log_det_grad
                } else {
                    through * x[p] + self.log_det_grad
                };
                raw_grad[p] = of_log_scale * (one - tanh * tanh);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_units_in_the_last_place() {
        for step in -86_990..=87_990 {
            let x = step as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(Scalar::exp(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error:e}");
        }
        assert_eq!(Scalar::exp(0.0f32), 1.0);
        assert!(Scalar::exp(f32::NAN).is_nan());
        assert!(Scalar::exp(f32::INFINITY) > 1e38 && Scalar::exp(f32::NEG_INFINITY) < 1e-37);
    }
}
