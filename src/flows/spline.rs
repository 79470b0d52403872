//! Element-wise monotone rational-quadratic spline.

use super::check::Placement;
use super::{sum_per_sample, Cx, Mapped, Transform};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{nn, nn::Init, Kind, Tensor};

/// Smallest width and height of a bin, as a fraction of `2 tail`, and smallest derivative at a knot.
const MIN: f64 = 1e-3;
/// Deviation of the initial raw parameters.
const INIT_STD: f64 = 0.01;

/// Element-wise rational-quadratic spline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplineConfig {
    /// Number of bins.
    pub bins: i64,
    /// Identity outside `[-tail, tail]`.
    pub tail: f64,
    /// One set of `3 bins - 1` numbers for the whole tensor, else one per element.
    pub shared: bool,
}

/// Monotone rational-quadratic spline with identity tails, applied to every element.
///
/// In the bin `[x0, x0 + w]` → `[y0, y0 + h]` with derivatives `d0`, `d1` at its ends, slope `s = h / w` and
/// `u = (x - x0) / w`, `v = u (1 - u)`, `p = d0 / s - 1`, `q = d1 / s - 1`:
///
/// ```text
/// y = y0 + h (u + p v) / (1 + (p + q) v)
/// dy/dx = s (1 + p + (q - p) u - (p + q) v) / (1 + (p + q) v)^2
/// ```
///
/// Outside `[-tail, tail]` it is the identity: two more bins, with `w = h = d0 = d1 = 1` and no other end, so that no
/// element needs a special case. The derivative is 1 at `±tail`.
///
/// Variables: `widths` and `heights` `[P, bins]`, softmax gives the bins; `derivatives` `[P, bins - 1]` at the inner
/// knots, softplus; P is 1 if shared, else `C H W`. They start at `N(0, 0.01^2)`, near the identity.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`.
///
/// Source: Durkan, Bekasov, Murray, Papamakarios, *Neural spline flows*, 2019, <https://arxiv.org/abs/1906.04032>.
#[derive(Debug)]
pub struct Spline {
    chw: [i64; 3],
    tail: f64,
    shared: bool,
    widths: Tensor,
    heights: Tensor,
    derivatives: Tensor,
    placement: Placement,
}

/// The spline's bins in order, tails included; every tensor but the knots is `[P, bins + 2]`.
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

impl Spline {
    /// A spline for elements of shape `chw = [C, H, W]`.
    ///
    /// # Errors
    /// [`Error::Config`] for fewer than 1 or more than 500 bins, or a tail that is not a positive number.
    pub fn new(vs: &nn::Path, chw: [i64; 3], config: &SplineConfig) -> Result<Self> {
        let &SplineConfig { bins, tail, shared } = config;
        if !(1..=500).contains(&bins) {
            return Err(Error::config(format!(
                "a spline needs 1 to 500 bins (each takes at least {MIN} of its range), got {bins}"
            )));
        }
        if !(tail > 0.0 && tail.is_finite()) {
            return Err(Error::config(format!(
                "the spline's `tail` must be a positive number, got {tail}"
            )));
        }
        let sets = if shared { 1 } else { chw.iter().product() };
        let init = Init::Randn {
            mean: 0.0,
            stdev: INIT_STD,
        };
        Ok(Self {
            chw,
            tail,
            shared,
            widths: vs.f_var("widths", &[sets, bins], init)?,
            heights: vs.f_var("heights", &[sets, bins], init)?,
            derivatives: vs.f_var("derivatives", &[sets, bins - 1], init)?,
            placement: Placement::in_path(vs),
        })
    }

    /// One axis from its raw lengths.
    fn axis(&self, raw: &Tensor) -> Result<Axis> {
        let bins = raw.size()[1];
        let span = 2.0 * self.tail;
        let fractions = raw
            .f_softmax(1, None::<Kind>)?
            .f_mul_scalar(1.0 - MIN * bins as f64)?
            .f_add_scalar(MIN)?;
        let inner = fractions
            .f_narrow(1, 0, bins - 1)?
            .f_cumsum(1, None::<Kind>)?
            .f_mul_scalar(span)?
            .f_add_scalar(-self.tail)?;
        // the outer knots are set, not summed up, so that the spline meets its tails exactly
        let end = raw.f_narrow(1, 0, 1)?.f_detach()?;
        let (first, last) = (end.f_full_like(-self.tail)?, end.f_full_like(self.tail)?);
        let knots = Tensor::f_cat(&[&first, &inner, &last], 1)?;
        let lengths = knots.f_diff(1, 1, None::<&Tensor>, None::<&Tensor>)?;
        let one = end.f_ones_like()?;
        Ok(Axis {
            start: Tensor::f_cat(&[&first, &knots], 1)?,
            length: Tensor::f_cat(&[&one, &lengths, &one], 1)?,
            knots,
        })
    }

    fn bins(&self) -> Result<Bins> {
        let (x, y) = (self.axis(&self.widths)?, self.axis(&self.heights)?);
        // a raw value of 0 stands for the derivative 1
        let offset = ((1.0 - MIN).exp() - 1.0).ln();
        let inner = self
            .derivatives
            .f_add_scalar(offset)?
            .f_softplus()?
            .f_add_scalar(MIN)?;
        let one = self.widths.f_narrow(1, 0, 1)?.f_detach()?.f_ones_like()?;
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

    fn check(&self, x: &Tensor) -> Result<[i64; 4]> {
        let [n, c, h, w] = self.placement.check("spline", x)?;
        if self.shared || [c, h, w] == self.chw {
            return Ok([n, c, h, w]);
        }
        Err(Error::argument(
            "spline",
            "x",
            format!(
                "must be [N, C, H, W] with [C, H, W] = {:?}, one set of parameters each, got {:?}",
                self.chw,
                x.size()
            ),
        ))
    }

    /// `[N, C, H, W]` → `[P, elements]`: one row for each set of parameters.
    fn image_to_rows(&self, x: &Tensor) -> Result<Tensor> {
        Ok(if self.shared {
            x.f_reshape([1, -1])?
        } else {
            let dims: i64 = self.chw.iter().product();
            x.f_reshape([x.size()[0], dims])?
                .f_transpose(0, 1)?
                .f_contiguous()?
        })
    }

    /// The way back, to `size`.
    fn rows_to_image(&self, rows: &Tensor, size: &[i64]) -> Result<Tensor> {
        Ok(if self.shared {
            rows.f_view(size)?
        } else {
            rows.f_transpose(0, 1)?.f_contiguous()?.f_view(size)?
        })
    }

    fn mapped(&self, value: &Tensor, log_slope: &Tensor, size: &[i64]) -> Result<Mapped> {
        Ok(Mapped {
            value: self.rows_to_image(value, size)?,
            log_det: if self.shared {
                sum_per_sample(&log_slope.f_view(size)?)
            } else {
                log_slope.f_sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)?
            },
        })
    }
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

impl Transform for Spline {
    fn name(&self) -> &'static str {
        "spline"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let size = self.check(x)?;
        let Bins {
            x: from,
            y: to,
            p,
            q,
        } = self.bins()?;
        let at = locate(&self.image_to_rows(x)?, &from, &to, &p, &q)?;
        let u = &at.position;
        let v = u.f_sub(&u.f_square()?)?;
        let (denominator, slope) = denominator_and_slope(u, &v, &at.p, &at.q)?;
        let fraction = u.f_addcmul(&at.p, &v)?.f_div(&denominator)?;
        let y = at.start.f_addcmul(&at.length, &fraction)?;
        let log_slope = slope.f_mul(&at.length)?.f_mul(&at.source_scale)?.f_log()?;
        self.mapped(&y, &log_slope, &size)
    }

    /// Solves `g u^2 - (1 + g) u + t = 0` with `t = (y - y0) / h` and `g = p - t (p + q)` for the root in `[0, 1]`.
    ///
    /// Of the two forms of that root the one without cancellation is taken, by the sign of `1 + g`.
    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let size = self.check(z)?;
        let Bins {
            x: to,
            y: from,
            p,
            q,
        } = self.bins()?;
        let at = locate(&self.image_to_rows(z)?, &from, &to, &p, &q)?;
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
        // s = h / w, and here `from` is the y axis
        let log_slope = slope.f_div(&at.length)?.f_div(&at.source_scale)?.f_log()?;
        self.mapped(&x, &log_slope.f_neg()?, &size)
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        if self.shared || chw == self.chw {
            return Ok(chw);
        }
        Err(Error::config(format!(
            "spline was built with one set of parameters per element of {:?} and cannot take {chw:?}",
            self.chw
        )))
    }
}
