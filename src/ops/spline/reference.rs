//! The spline in plain tensor operations: the specification of the kernels.

use crate::problem::spline::{derivative_offset, RawSpline, SplineSizes, MIN};
use crate::problem::Direction;
use crate::Result;
use tch::{Kind, Tensor};

/// The spline's bins in order, tails included; every tensor but the knots is `[P, bins + 2]`.
///
/// Outside `[-tail, tail]` the spline is the identity: two more bins, with `w = h = d0 = d1 = 1` and no other end, so
/// that no element needs a special case.
struct Bins {
    x: Axis,
    y: Axis,
    /// `d0 / s - 1` and `d1 / s - 1`.
    p: Tensor,
    q: Tensor,
}

/// One axis: where the bins begin, how long they are, and where they meet.
struct Axis {
    start: Tensor,
    length: Tensor,
    /// `[P, bins + 1]`, from `-tail` to `tail`.
    knots: Tensor,
}

/// Per element: where its bin begins on the axis it is mapped to, the bin's length there, `p` and `q`, and the
/// position within the bin on the axis it comes from, 0 to 1 but in the tails.
struct Located {
    position: Tensor,
    start: Tensor,
    length: Tensor,
    source_scale: Tensor,
    p: Tensor,
    q: Tensor,
}

/// As [`super::spline`], by differentiable tensor operations.
///
/// # Errors
/// As [`super::spline`].
pub fn spline(x: &Tensor, raw: &RawSpline<'_>, direction: Direction) -> Result<(Tensor, Tensor)> {
    let sizes = SplineSizes::check(x, raw)?;
    let rows = image_to_rows(x, &sizes)?;
    let Bins {
        x: x_axis,
        y: y_axis,
        p,
        q,
    } = bins(raw)?;
    let (value, log_slope) = match direction {
        Direction::Forward => forward(&locate(&rows, &x_axis, &y_axis, &p, &q)?)?,
        Direction::Inverse => inverse(&locate(&rows, &y_axis, &x_axis, &p, &q)?)?,
    };
    let value = rows_to_image(&value, &x.size(), &sizes)?;
    let per_sample = rows_to_image(
        &log_slope,
        &[sizes.samples as i64, sizes.elements as i64],
        &sizes,
    )?;
    let log_det = per_sample.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
    Ok((value, log_det))
}

fn forward(at: &Located) -> Result<(Tensor, Tensor)> {
    let u = &at.position;
    let v = u.f_sub(&u.f_square()?)?;
    let (denominator, slope) = denominator_and_slope(u, &v, &at.p, &at.q)?;
    let fraction = u.f_addcmul(&at.p, &v)?.f_div(&denominator)?;
    let y = at.start.f_addcmul(&at.length, &fraction)?;
    let log_slope = slope.f_mul(&at.length)?.f_mul(&at.source_scale)?.f_log()?;
    Ok((y, log_slope))
}

/// Solves `g u^2 - (1 + g) u + t = 0` with `t = (y - y0) / h` and `g = p - t (p + q)` for the root in `[0, 1]`.
///
/// Of the two forms of that root the one without cancellation is taken, by the sign of `1 + g`.
fn inverse(at: &Located) -> Result<(Tensor, Tensor)> {
    let t = &at.position;
    let g = at.p.f_sub(&at.p.f_add(&at.q)?.f_mul(t)?)?;
    let b = g.f_add_scalar(1.0)?;
    let root = b
        .f_square()?
        .f_sub(&g.f_mul(t)?.f_mul_scalar(4.0)?)?
        .f_clamp_min(0.0)?
        .f_sqrt()?;
    let plus = b.f_ge(0.0)?;
    let numerator = t.f_mul_scalar(2.0)?.f_where_self(&plus, &b.f_sub(&root)?)?;
    let denominator = b.f_add(&root)?.f_where_self(&plus, &g.f_mul_scalar(2.0)?)?;
    let u = numerator.f_div(&denominator)?;
    let v = u.f_sub(&u.f_square()?)?;
    let (_, slope) = denominator_and_slope(&u, &v, &at.p, &at.q)?;
    let x = at.start.f_addcmul(&at.length, &u)?;
    // s = h / w, and here the element comes from the y axis
    let log_slope = slope.f_div(&at.length)?.f_div(&at.source_scale)?.f_log()?;
    Ok((x, log_slope.f_neg()?))
}

/// `1 + (p + q) v`, and `dy/dx / s`, at the position `u`.
fn denominator_and_slope(
    u: &Tensor,
    v: &Tensor,
    p: &Tensor,
    q: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let denominator = p.f_add(q)?.f_mul(v)?.f_add_scalar(1.0)?;
    let numerator = p
        .f_addcmul(&q.f_sub(p)?, u)?
        .f_sub(&denominator)?
        .f_add_scalar(2.0)?;
    let slope = numerator.f_div(&denominator.f_square()?)?;
    Ok((denominator, slope))
}

/// Finds the bin of every element of `rows` `[P, M]` on the axis `from` and gathers its numbers in one go.
fn locate(rows: &Tensor, from: &Axis, to: &Axis, p: &Tensor, q: &Tensor) -> Result<Located> {
    let bin = rows.f_searchsorted(&from.knots, false, false, "right", None::<&Tensor>)?;
    let scale = from.length.f_reciprocal()?;
    let table = Tensor::f_stack(&[&from.start, &scale, &to.start, &to.length, p, q], 0)?;
    let size = bin.size();
    let index = bin.f_unsqueeze(0)?.f_expand([6, size[0], size[1]], false)?;
    let [from_start, scale, start, length, p, q] =
        <[Tensor; 6]>::try_from(table.f_gather(2, &index, false)?.f_unbind(0)?)
            .expect("six rows were stacked");
    Ok(Located {
        position: rows.f_sub(&from_start)?.f_mul(&scale)?,
        start,
        length,
        source_scale: scale,
        p,
        q,
    })
}

fn bins(raw: &RawSpline<'_>) -> Result<Bins> {
    let (x, y) = (axis(raw.widths, raw.tail)?, axis(raw.heights, raw.tail)?);
    let inner = raw
        .derivatives
        .f_add_scalar(derivative_offset())?
        .f_softplus()?
        .f_add_scalar(MIN)?;
    let one = raw.widths.f_narrow(1, 0, 1)?.f_detach()?.f_ones_like()?;
    let derivatives = Tensor::f_cat(&[&one, &one, &inner, &one, &one], 1)?;
    let slope_inverse = x.length.f_div(&y.length)?;
    let count = slope_inverse.size()[1];
    let relative = |from: i64| -> Result<Tensor> {
        Ok(derivatives
            .f_narrow(1, from, count)?
            .f_mul(&slope_inverse)?
            .f_add_scalar(-1.0)?)
    };
    let (p, q) = (relative(0)?, relative(1)?);
    Ok(Bins { x, y, p, q })
}

/// One axis from its raw lengths.
fn axis(raw: &Tensor, tail: f64) -> Result<Axis> {
    let bins = raw.size()[1];
    let fractions = raw
        .f_softmax(1, None::<Kind>)?
        .f_mul_scalar(1.0 - MIN * bins as f64)?
        .f_add_scalar(MIN)?;
    let inner = fractions
        .f_narrow(1, 0, bins - 1)?
        .f_cumsum(1, None::<Kind>)?
        .f_mul_scalar(2.0 * tail)?
        .f_add_scalar(-tail)?;
    // the outer knots are set, not summed up, so that the spline meets its tails exactly
    let end = raw.f_narrow(1, 0, 1)?.f_detach()?;
    let (first, last) = (end.f_full_like(-tail)?, end.f_full_like(tail)?);
    let knots = Tensor::f_cat(&[&first, &inner, &last], 1)?;
    let lengths = knots.f_diff(1, 1, None::<&Tensor>, None::<&Tensor>)?;
    let one = end.f_ones_like()?;
    Ok(Axis {
        start: Tensor::f_cat(&[&first, &knots], 1)?,
        length: Tensor::f_cat(&[&one, &lengths, &one], 1)?,
        knots,
    })
}

/// `[N, ...]` → `[P, elements]`: one row for each set of numbers.
fn image_to_rows(x: &Tensor, sizes: &SplineSizes) -> Result<Tensor> {
    Ok(if sizes.shared {
        x.f_reshape([1, -1])?
    } else {
        x.f_reshape([sizes.samples as i64, sizes.elements as i64])?
            .f_transpose(0, 1)?
            .f_contiguous()?
    })
}

/// The way back, to `size`.
fn rows_to_image(rows: &Tensor, size: &[i64], sizes: &SplineSizes) -> Result<Tensor> {
    Ok(if sizes.shared {
        rows.f_view(size)?
    } else {
        rows.f_transpose(0, 1)?.f_contiguous()?.f_view(size)?
    })
}
