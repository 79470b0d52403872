//! What the net says about the scale of one element.

use crate::ops::vector::Real;

/// The scale of one element. Its logarithm is `linear - log(1 + small)`, so that the logarithms of many elements are one of a
/// product.
#[derive(Clone, Copy)]
pub struct Scale<T> {
    pub linear: T,
    /// 0 to 1.
    pub small: T,
    /// `exp(log_scale)`, or its reciprocal in the inverse direction.
    pub factor: T,
    /// `d log_scale / ds`.
    pub slope: T,
}

/// How a scale is made of the number s that the net says; arithmetic without branches, which is vectorised.
pub trait ScaleForm {
    /// Whether [`Scale::small`] can be anything but 0.
    const HAS_SMALL: bool;

    /// The scale for `s`.
    fn of<T: Real>(s: T, inverse: bool) -> Scale<T>;
}

/// `e^value`, or `e^-value` in the inverse direction.
#[inline(always)]
fn factor<T: Real>(value: T, inverse: bool) -> T {
    let signed = if inverse { T::default() - value } else { value };
    signed.exp()
}

/// `2 tanh(s / 2)`
pub struct Bounded;

impl ScaleForm for Bounded {
    const HAS_SMALL: bool = false;

    #[inline(always)]
    fn of<T: Real>(s: T, inverse: bool) -> Scale<T> {
        let (one, two) = (T::from_f64(1.0), T::from_f64(2.0));
        let half_tanh = one - two / (s.exp() + one);
        let linear = two * half_tanh;
        Scale {
            linear,
            small: T::default(),
            factor: factor(linear, inverse),
            slope: one - half_tanh * half_tanh,
        }
    }
}

/// `log sigmoid(a)` with `a = s + 2`, which is `min(a, 0) - log(1 + e^-|a|)`.
pub struct Sigmoid;

impl ScaleForm for Sigmoid {
    const HAS_SMALL: bool = true;

    #[inline(always)]
    fn of<T: Real>(s: T, inverse: bool) -> Scale<T> {
        let (zero, one) = (T::default(), T::from_f64(1.0));
        let a = s + T::from_f64(2.0);
        let positive = a >= zero;
        let small = (zero - a.absolute()).exp();
        let sum = one + small;
        // sigmoid(a) and sigmoid(-a), or their reciprocals
        let (more, less) = (one / sum, small / sum);
        let scale = if positive { more } else { less };
        Scale {
            linear: if positive { zero } else { a },
            small,
            factor: if inverse { one / scale } else { scale },
            slope: if positive { less } else { more },
        }
    }
}

/// `-s`
pub struct Negative;

impl ScaleForm for Negative {
    const HAS_SMALL: bool = false;

    #[inline(always)]
    fn of<T: Real>(s: T, inverse: bool) -> Scale<T> {
        let linear = T::default() - s;
        Scale {
            linear,
            small: T::default(),
            factor: factor(linear, inverse),
            slope: T::from_f64(-1.0),
        }
    }
}
