//! The definitions in plain tensor operations: the twins of the kernels.

use super::arguments::{check_filters, check_hidden, ResidualFilters, ResidualWeights};
use crate::problem::residual::{Triangle, MIN_SLOPE};
use crate::Result;
use tch::{Device, Kind, Tensor};

/// As [`super::elu_with_slope`].
///
/// # Errors
/// As [`super::elu_with_slope`].
pub fn elu_with_slope(h: &Tensor, colours: i64) -> Result<(Tensor, Tensor)> {
    let [n, l, c, pixels] = check_hidden(h, colours)?;
    // elu'(h) = exp(min(h, 0))
    let slope = h
        .f_clamp_max(0.0)?
        .f_exp()?
        .f_reshape([n, l, c, pixels])?
        .f_permute([2, 1, 0, 3])?
        .f_reshape([c, l, n * pixels])?;
    Ok((h.f_elu()?, slope))
}

/// As [`super::residual_filters`].
///
/// # Errors
/// As [`super::residual_filters`].
pub fn residual_filters(
    weights: &ResidualWeights<'_>,
    triangle: Triangle,
) -> Result<ResidualFilters> {
    let [c, l, _] = check_filters(weights)?;
    let n = l * c;
    let first = weights.filters[0];
    let mask = mask(c, triangle, first.kind(), first.device())?;
    // [aC, bC, 3, 3] as [a, C, b, C, 3, 3]
    let masked = |weight: &Tensor| -> Result<Tensor> {
        let size = weight.size();
        Ok(weight
            .f_reshape([size[0] / c, c, size[1] / c, c, 3, 3])?
            .f_mul(&mask)?)
    };
    let [w1, w2, w3] = weights.filters;
    let [w1, w2, w3] = [masked(w1)?, masked(w2)?, masked(w3)?];
    // the centre taps between equal colours: [a, b, C]
    let centre = |w: &Tensor| -> Result<Tensor> {
        Ok(w.f_select(5, 1)?.f_select(4, 1)?.f_diagonal(0, 1, 3)?)
    };
    let (c1, c2, c3) = (centre(&w1)?, centre(&w2)?, centre(&w3)?);
    // c1 is [b, 1, C] and c3 [1, a, C]: as they stand in the product over (a, b, C)
    let (c1, c3) = (c1.f_transpose(0, 1)?, c3.f_transpose(0, 1)?);
    let signs = c1.f_sign()?.f_mul(&c3.f_sign()?)?;
    let positive = signs.f_mul(&c2.f_abs()?)?;
    let paths = c1.f_mul(&positive)?.f_mul(&c3)?.f_permute([2, 0, 1])?;
    // puts the new taps in the place of the old ones, outside of which their difference is zero
    let change = positive.f_sub(&c2)?;
    let spread = Tensor::f_diag_embed(&change, 0, 1, 3)?; // [a, C, b, C]
    let spread = spread
        .f_unsqueeze(-1)?
        .f_unsqueeze(-1)?
        .f_constant_pad_nd([1, 1, 1, 1])?;
    let w2 = w2.f_add(&spread)?;
    Ok(ResidualFilters {
        filters: [
            w1.f_reshape([n, c, 3, 3])?,
            w2.f_reshape([n, n, 3, 3])?,
            w3.f_reshape([c, n, 3, 3])?,
        ],
        paths: paths.f_contiguous()?,
        slope: weights.t.f_abs()?.f_clamp_min(MIN_SLOPE)?,
    })
}

/// The mask of every C x C tile, `[1, C, 1, C, 3, 3]` with indices (output colour, input colour, row, column).
fn mask(c: i64, triangle: Triangle, kind: Kind, device: Device) -> Result<Tensor> {
    let mut taps = Vec::with_capacity((9 * c * c) as usize);
    for (output, input) in (0..c).flat_map(|output| (0..c).map(move |input| (output, input))) {
        let seen = |tap: i64| triangle.sees(output, input, [tap / 3, tap % 3]);
        taps.extend((0..9).map(|tap| f64::from(u8::from(seen(tap)))));
    }
    Ok(Tensor::f_from_slice(&taps)?
        .f_view([1, c, 1, c, 3, 3])?
        .f_to_kind(kind)?
        .f_to_device(device)?)
}
