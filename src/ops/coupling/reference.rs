//! The definition in plain tensor operations: the twin of the kernels.

use super::arguments::check;
use crate::problem::{AffineForm, Direction, LogScale};
use crate::Result;
use tch::{Kind, Tensor};

/// As [`super::affine_coupling`].
///
/// # Errors
/// As [`super::affine_coupling`].
pub fn affine_coupling(
    x: &Tensor,
    net: &Tensor,
    form: AffineForm,
    direction: Direction,
) -> Result<(Tensor, Tensor)> {
    let sizes = check(x, net)?;
    let inverse = direction == Direction::Inverse;
    let (x1, x2) = (
        x.f_narrow(1, 0, sizes.kept)?,
        x.f_narrow(1, sizes.kept, sizes.moved)?,
    );
    let layout = form.layout(sizes.moved);
    let said = |first: i64| {
        net.f_narrow(1, first, 1 + (sizes.moved - 1) * layout.step)?
            .f_slice(1, 0, None::<i64>, layout.step)
    };
    let (raw, shift) = (said(layout.scale)?, said(layout.shift)?);
    let log_scale = match form.log_scale() {
        LogScale::Bounded => raw.f_mul_scalar(0.5)?.f_tanh()?.f_mul_scalar(2.0)?,
        // log(sigmoid) would underflow where log-sigmoid does not
        LogScale::Sigmoid => raw.f_add_scalar(2.0)?.f_log_sigmoid()?,
        LogScale::Negative => raw.f_neg()?,
    };
    let log_scale = if inverse {
        log_scale.f_neg()?
    } else {
        log_scale
    };
    let factor = log_scale.f_exp()?;
    let [before, after] = form.shifts(inverse);
    let moved = if before == 0.0 {
        let shift = shift.f_mul_scalar(after)?;
        shift.f_addcmul(&x2, &factor)?
    } else {
        x2.f_add(&shift.f_mul_scalar(before)?)?.f_mul(&factor)?
    };
    let log_det =
        log_scale
            .f_flatten(1, -1)?
            .f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
    Ok((Tensor::f_cat(&[&x1, &moved], 1)?, log_det))
}
