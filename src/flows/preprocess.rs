//! From 8-bit pixels to the whole real line, every step with its log-det.
//!
//! ```text
//! pixel 0..=255  --Dequantize-->  [0, 256)  --Scale-->  [0, 1)  --LogitMap-->  R
//! ```
//!
//! Bits per dimension come out right only because these are layers like all others.

use super::check::image_size;
use super::{sum_per_sample, Cx, Mapped, Transform};
use crate::torchscript::Script;
use crate::{Error, Result};
use std::f64::consts::LN_2;
use tch::{Kind, Tensor};

/// The number of values of an 8-bit pixel.
pub const PIXEL_LEVELS: f64 = 256.0;

/// The largest float32 number below the end of the pixel range: what [`to_range`] makes of everything beyond.
pub const LARGEST_PIXEL: f64 = PIXEL_LEVELS - 1.0 / 65_536.0;

/// Divides by 256: `[0, 256)` → `[0, 1)`, log-det `-D ln 256` for `D = C H W` dimensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scale;

impl Scale {
    fn log_det(dims: i64) -> f64 {
        -(dims as f64) * 8.0 * LN_2
    }
}

impl Transform for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("scale", x)?;
        Ok(with_constant(
            x.f_mul_scalar(1.0 / PIXEL_LEVELS)?,
            Self::log_det(c * h * w),
        ))
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("scale", z)?;
        Ok(with_constant(
            z.f_mul_scalar(PIXEL_LEVELS)?,
            -Self::log_det(c * h * w),
        ))
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        Ok(chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new("Scale", include_str!("scale.torchscript.py")))
    }
}

/// Moves the unit interval around 0: `z = width (x - 1/2)`, so `[0, 1)` → `[-width/2, width/2)`; log-det `D ln width`.
///
/// For flows that start from bounded images: `width` 2 gives `[-1, 1)`, 1 gives `[-1/2, 1/2)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Center {
    width: f64,
}

impl Center {
    /// An interval of length `width` around 0.
    ///
    /// # Errors
    /// [`Error::Config`] unless `width` is a positive number.
    pub fn new(width: f64) -> Result<Self> {
        if width > 0.0 && width.is_finite() {
            return Ok(Self { width });
        }
        Err(Error::config(format!(
            "`width`, the length of the interval of the images around 0, must be a positive number, got {width}"
        )))
    }
}

impl Transform for Center {
    fn name(&self) -> &'static str {
        "center"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("center", x)?;
        let value = x.f_add_scalar(-0.5)?.f_mul_scalar(self.width)?;
        Ok(with_constant(value, (c * h * w) as f64 * self.width.ln()))
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("center", z)?;
        let value = z.f_mul_scalar(1.0 / self.width)?.f_add_scalar(0.5)?;
        Ok(with_constant(value, -(c * h * w) as f64 * self.width.ln()))
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        Ok(chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new("Center", include_str!("center.torchscript.py"))
            .with("width", self.width)
            .with("log_width", self.width.ln()))
    }
}

/// Logit with a margin: `[0, 1]` → R.
///
/// ```text
/// y = (x + a)(1 - 2a),   z = ln y - ln(1 - y),   log-det = D ln(1 - 2a) - sum (ln y + ln(1 - y))
/// ```
///
/// Where: `a` is the margin that keeps black and white pixels finite, `D = C H W`. The inverse takes both logarithms
/// from the log-sigmoid of `z`, so it is finite for every latent. If made by [`symmetric`](LogitMap::symmetric),
/// `y = a + (1 - 2a) x` instead, which leaves the same margin on both sides.
///
/// The inverse has values in the open interval of all `x` with `0 < y < 1`, which is `[0, 1]` with its margins. A float32
/// sigmoid rounds to 1 from `z` = 17 on, and then `x` lies on the end of that interval, where the logit is infinite. So
/// `y` counts as the nearest number inside wherever `x` is on the end or beyond it by less than one grey level: the logit
/// of whatever the inverse returns is finite, and so is that of an image with the noise of a pixel added to it. The
/// pixels themselves lie inside, and nothing changes for them. What is farther away is no image, and NaN as before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitMap {
    alpha: f64,
    /// `y` at `x = 0`.
    start: f64,
}

impl LogitMap {
    /// Logit with margin `alpha`; 1e-6 is the usual one, and about the smallest that float32 can tell from 0 at 1.
    ///
    /// # Errors
    /// [`Error::Config`] unless `0 < alpha < 0.5`.
    pub fn new(alpha: f64) -> Result<Self> {
        if alpha > 0.0 && alpha < 0.5 {
            let start = alpha * (1.0 - 2.0 * alpha);
            return Ok(Self { alpha, start });
        }
        Err(Error::config(format!(
            "`alpha`, the margin of the logit, must lie between 0 and 0.5, got {alpha}; 1e-6 is usual"
        )))
    }

    /// Logit with the margin `alpha` on both sides.
    ///
    /// # Errors
    /// As [`new`](LogitMap::new).
    pub fn symmetric(alpha: f64) -> Result<Self> {
        Ok(Self {
            start: alpha,
            ..Self::new(alpha)?
        })
    }

    fn log_slope(&self, dims: i64) -> f64 {
        dims as f64 * (-2.0 * self.alpha).ln_1p()
    }

    /// The numbers that `y` is never nearer to 0 and 1 than: its own rounding error at 0, and the last number before 1.
    fn ends(&self, kind: Kind) -> (f64, f64) {
        let unit = match kind {
            Kind::Double => f64::EPSILON / 2.0,
            _ => f64::from(f32::EPSILON) / 2.0,
        };
        (self.start * unit, 1.0 - unit)
    }

    /// `y` with what is on its ends, or beyond by less than a grey level, brought inside.
    fn inside(&self, y: &Tensor) -> Result<Tensor> {
        let (least, most) = self.ends(y.kind());
        let inside = y.f_clamp(least, most)?;
        let near = y.f_sub(&inside)?.f_abs()?.f_lt(1.0 / PIXEL_LEVELS)?;
        Ok(inside.f_where_self(&near, y)?)
    }
}

impl Transform for LogitMap {
    fn name(&self) -> &'static str {
        "logit"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("logit", x)?;
        let slope = 1.0 - 2.0 * self.alpha;
        let mut y = x.f_mul_scalar(slope)?.f_add_scalar(self.start)?;
        // a step is made on pixels and their noise, which lie inside
        if cx.training.is_none() {
            y = self.inside(&y)?;
        }
        let (log_y, log_rest) = (y.f_log()?, y.f_neg()?.f_log1p()?);
        let log_det = sum_per_sample(&log_y.f_add(&log_rest)?)?.f_neg()?;
        Ok(Mapped {
            value: log_y.f_sub(&log_rest)?,
            log_det: log_det.f_add_scalar(self.log_slope(c * h * w))?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("logit", z)?;
        let log_y = z.f_log_sigmoid()?;
        let log_rest = log_y.f_sub(z)?; // ln(1 - y) = ln y - z
        let slope = 1.0 - 2.0 * self.alpha;
        let x = z
            .f_sigmoid()?
            .f_add_scalar(-self.start)?
            .f_mul_scalar(1.0 / slope)?;
        let log_det = sum_per_sample(&log_y.f_add(&log_rest)?)?;
        Ok(Mapped {
            value: x,
            log_det: log_det.f_add_scalar(-self.log_slope(c * h * w))?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        Ok(chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(
            Script::new("LogitMap", include_str!("logit.torchscript.py"))
                .with("slope", 1.0 - 2.0 * self.alpha)
                .with("start", self.start)
                .with("log_slope", self.log_slope(1))
                .with("ends", self.ends(Kind::Float))
                .with("ends_in_float64", self.ends(Kind::Double)),
        )
    }
}

/// Continuous images with every value brought into the pixel range `[0, 256)`, whose ends rounding reaches, and which a
/// flow without a logit knows nothing of. What is not finite becomes NaN, which no range hides.
///
/// # Errors
/// What libtorch reports for a tensor that is not of floating-point numbers.
pub fn to_range(images: &Tensor) -> Result<Tensor> {
    // the difference is 0, or NaN for infinities too
    let nothing = images.f_sub(images)?;
    Ok(images.f_clamp(0.0, LARGEST_PIXEL)?.f_add(&nothing)?)
}

/// 8-bit pixels of continuous images: rounded down, clamped to 0..=255, NaN to 0; `Kind::Uint8`.
///
/// # Errors
/// What libtorch reports for a tensor that is not of floating-point numbers.
pub fn to_pixels(images: &Tensor) -> Result<Tensor> {
    let pixels = images
        .f_nan_to_num(0.0, 255.0, 0.0)?
        .f_floor()?
        .f_clamp(0.0, 255.0)?;
    Ok(pixels.f_to_kind(Kind::Uint8)?)
}

pub(super) fn with_constant(value: Tensor, log_det: f64) -> Mapped {
    let log_det = Tensor::full([value.size()[0]], log_det, (value.kind(), value.device()));
    Mapped { value, log_det }
}
