//! The spline at a few neighbouring elements: plain arithmetic over lanes.

use super::knots::{self, SUMS};
use crate::ops::vector::Real;

/// Elements that are computed together: enough that the compiler makes loops over them, which it vectorises, instead of
/// straight code.
pub const N: usize = 32;

/// The same number of neighbouring elements.
pub type Lanes<T> = [T; N];
/// The numbers of one bin, each for a vector of lanes.
pub type LaneBin<T> = [Lanes<T>; 6];
pub const X0: usize = 0;
const WIDTH: usize = 1;
const Y0: usize = 2;
const HEIGHT: usize = 3;
const P: usize = 4;
const Q: usize = 5;

/// The numbers of each lane's bin, its number, and whether the lane lies outside all bins.
pub struct Chosen<T> {
    pub bin: LaneBin<T>,
    pub index: Lanes<T>,
    pub outside: [bool; N],
}

/// The last bin that begins at or before each lane on the axis `from` ([`X0`] or [`Y0`]).
#[inline(always)]
pub fn choose<T: Real>(at: &Lanes<T>, from: usize, tail: T, bins: &[LaneBin<T>]) -> Chosen<T> {
    let (zero, one) = (T::default(), T::from_f64(1.0));
    let mut index = [zero; N];
    for candidate in &bins[1..] {
        let starts = &candidate[from];
        for l in 0..N {
            index[l] += if at[l] >= starts[l] { one } else { zero };
        }
    }
    let lowest = zero - tail;
    let (mut bin, mut outside) = ([[zero; N]; 6], [false; N]);
    for l in 0..N {
        let [x0, width, y0, height, p, q] = &bins[index[l].to_index()];
        bin[X0][l] = x0[l];
        bin[WIDTH][l] = width[l];
        bin[Y0][l] = y0[l];
        bin[HEIGHT][l] = height[l];
        bin[P][l] = p[l];
        bin[Q][l] = q[l];
        // not the negation of being inside: a NaN is in no tail and stays visible
        outside[l] = at[l] < lowest || at[l] >= tail;
    }
    Chosen {
        bin,
        index,
        outside,
    }
}

/// `N` elements from `x[start..]`; lanes past the end get `beyond`.
#[inline(always)]
pub fn load<T: Real>(x: &[T], start: usize, beyond: T) -> Lanes<T> {
    let mut lanes = [beyond; N];
    match x[start..].first_chunk::<N>() {
        Some(whole) => lanes = *whole,
        None => lanes[..x.len() - start].copy_from_slice(&x[start..]),
    }
    lanes
}

#[inline(always)]
pub fn store<T: Real>(x: &mut [T], start: usize, lanes: &Lanes<T>) {
    let end = x.len().min(start + N);
    x[start..end].copy_from_slice(&lanes[..end - start]);
}

/// `y` and `dy/dx` at `x`.
#[inline(always)]
pub fn forward_lanes<T: Real>(x: &Lanes<T>, tail: T, bins: &[LaneBin<T>]) -> (Lanes<T>, Lanes<T>) {
    let Chosen { bin, outside, .. } = choose(x, X0, tail, bins);
    let one = T::from_f64(1.0);
    let two = T::from_f64(2.0);
    let (mut y, mut slope) = (*x, [one; N]);
    for l in 0..N {
        let scale = one / bin[WIDTH][l];
        let u = (x[l] - bin[X0][l]) * scale;
        let rest = one - u;
        let v = u * rest;
        let inverse = one / (one + (bin[P][l] + bin[Q][l] - two) * v);
        let inside = bin[Y0][l] + bin[HEIGHT][l] * (u * u + bin[P][l] * v) * inverse;
        let numerator = bin[P][l] * rest * rest + two * v + bin[Q][l] * u * u;
        let steep = bin[HEIGHT][l] * scale * numerator * inverse * inverse;
        y[l] = if outside[l] { x[l] } else { inside };
        slope[l] = if outside[l] { one } else { steep };
    }
    (y, slope)
}

/// `x` and `dy/dx` at `y`: the root of `g u^2 - (1 + g) u + t` with `t = (y - y0) / h`, `g = P - 1 - t (P + Q - 2)`, in
/// that of its two forms which does not cancel.
#[inline(always)]
pub fn inverse_lanes<T: Real>(y: &Lanes<T>, tail: T, bins: &[LaneBin<T>]) -> (Lanes<T>, Lanes<T>) {
    let Chosen { bin, outside, .. } = choose(y, Y0, tail, bins);
    let (zero, one) = (T::default(), T::from_f64(1.0));
    let (two, four) = (T::from_f64(2.0), T::from_f64(4.0));
    let (mut x, mut slope) = (*y, [one; N]);
    for l in 0..N {
        let t = (y[l] - bin[Y0][l]) / bin[HEIGHT][l];
        let bend = bin[P][l] + bin[Q][l] - two;
        let g = bin[P][l] - one - t * bend;
        let b = one + g;
        let square = b * b - four * g * t;
        // a NaN passes
        let root = (if square < zero { zero } else { square }).root();
        let plus = b >= zero;
        let numerator = if plus { two * t } else { b - root };
        let denominator = if plus { b + root } else { two * g };
        let u = numerator / denominator;
        let rest = one - u;
        let v = u * rest;
        let inverse = one / (one + bend * v);
        let steepness = bin[P][l] * rest * rest + two * v + bin[Q][l] * u * u;
        let steep = bin[HEIGHT][l] / bin[WIDTH][l] * steepness * inverse * inverse;
        x[l] = if outside[l] {
            y[l]
        } else {
            bin[X0][l] + bin[WIDTH][l] * u
        };
        slope[l] = if outside[l] { one } else { steep };
    }
    (x, slope)
}

/// The gradient of every element, and its terms of its bin's sums; the letters are those of [`knots`].
#[inline(always)]
pub fn gradient_lanes<T: Real>(
    x: &Lanes<T>,
    grad: &Lanes<T>,
    log_det_grad: T,
    inverse: bool,
    chosen: &Chosen<T>,
) -> (Lanes<T>, [Lanes<T>; SUMS]) {
    let bin = &chosen.bin;
    let (zero, one, two) = (T::default(), T::from_f64(1.0), T::from_f64(2.0));
    let mut x_grad = *grad;
    let mut terms = [[zero; N]; SUMS];
    let l_grad = if inverse {
        zero - log_det_grad
    } else {
        log_det_grad
    };
    for l in 0..N {
        let scale = one / bin[WIDTH][l];
        let u = (x[l] - bin[X0][l]) * scale;
        let rest = one - u;
        let v = u * rest;
        let turn = rest - u; // dv/du
        let bend = bin[P][l] + bin[Q][l] - two;
        let over = one / (one + bend * v);
        let rise = (u * u + bin[P][l] * v) * over;
        let steepness = bin[P][l] * rest * rest + two * v + bin[Q][l] * u * u;
        let per_steepness = one / steepness;
        // d(log f')/du, and df/du
        let log_slope_u = (two * (bin[Q][l] * u - bin[P][l] * rest) + two * turn) * per_steepness
            - two * bend * turn * over;
        let value_u = bin[HEIGHT][l] * steepness * over * over;
        // along the element: what comes in, and in the inverse direction what that means for the forward one
        let along =
            grad[l] * (if inverse { one } else { value_u * scale }) + l_grad * log_slope_u * scale;
        let through = along / (value_u * scale);
        let g = if inverse { zero - through } else { grad[l] };
        let inside = if inverse { through } else { along };
        let outside = chosen.outside[l];
        x_grad[l] = if outside { grad[l] } else { inside };
        let of_fraction = g * bin[HEIGHT][l] * over;
        let of_denominator = zero - of_fraction * rise - two * l_grad * over;
        let of_steepness = l_grad * per_steepness;
        let of_u = g * value_u + l_grad * log_slope_u;
        let of_bend = of_denominator * v;
        let of_p = of_fraction * v + of_bend + of_steepness * rest * rest;
        let of_q = of_bend + of_steepness * u * u;
        terms[knots::G][l] = if outside { zero } else { g };
        terms[knots::G_RISE][l] = if outside { zero } else { g * rise };
        terms[knots::L][l] = if outside { zero } else { l_grad };
        terms[knots::U][l] = if outside { zero } else { of_u };
        terms[knots::U_U][l] = if outside { zero } else { of_u * u };
        terms[knots::P][l] = if outside { zero } else { of_p };
        terms[knots::Q][l] = if outside { zero } else { of_q };
    }
    (x_grad, terms)
}
