//! The definition in plain tensor operations: the twin of the kernels.

use super::arguments::check;
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
    let [n, c, h, w] = check("actnorm", x, [("loc", loc), ("log_scale", log_scale)])?;
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

/// As [`super::scale_channels`].
///
/// # Errors
/// As [`super::scale_channels`].
pub fn scale_channels(x: &Tensor, bias: &Tensor, logs: &Tensor, factor: f64) -> Result<Tensor> {
    check("scale_channels", x, [("bias", bias), ("logs", logs)])?;
    let scale = logs.f_mul_scalar(factor)?.f_exp()?;
    let column = [1, -1, 1, 1];
    Ok(x.f_add(&bias.f_view(column)?)?
        .f_mul(&scale.f_view(column)?)?)
}
