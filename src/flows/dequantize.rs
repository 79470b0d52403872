//! From integer pixels to continuous ones.

use super::check::image_size;
use super::preprocess::with_constant;
use super::{Cx, Mapped, Transform};
use crate::torchscript::Script;
use crate::words::{device, dtype};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tch::Tensor;

/// The bits of a pixel that a model is a density of, 1 to 8: the most significant ones, which make `2^bits` grey levels of
/// the 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Bits(u8);

impl Bits {
    /// All of them.
    pub const ALL: Self = Self(8);

    /// So many of them.
    ///
    /// # Errors
    /// [`Error::Config`] unless there are 1 to 8.
    pub fn new(bits: u8) -> Result<Self> {
        if (1..=8).contains(&bits) {
            return Ok(Self(bits));
        }
        Err(Error::config(format!(
            "`bits` must lie between 1 and 8, the bits of a pixel, got {bits}"
        )))
    }

    /// Grey levels of the 256 that count as one, `2^(8 - bits)`.
    pub fn step(self) -> f64 {
        f64::from(1u32 << (8 - self.0))
    }

    /// The pixels that continuous ones in `[0, 256)` came from, multiples of [`step`](Self::step) in their own kind, and the
    /// noise in `[0, 1)` that was added to them.
    ///
    /// # Errors
    /// What libtorch reports for a tensor that is not of floating-point numbers.
    pub fn split(self, images: &Tensor) -> Result<(Tensor, Tensor)> {
        let step = self.step();
        let pixels = match self {
            Self::ALL => images.f_floor()?,
            _ => images.f_div_scalar(step)?.f_floor()?.f_mul_scalar(step)?,
        };
        let noise = images.f_sub(&pixels)?.f_div_scalar(step)?;
        Ok((pixels, noise))
    }
}

impl Default for Bits {
    fn default() -> Self {
        Self::ALL
    }
}

impl TryFrom<u8> for Bits {
    type Error = Error;

    fn try_from(bits: u8) -> Result<Self> {
        Self::new(bits)
    }
}

impl FromStr for Bits {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse() {
            Ok(bits) => Self::new(bits),
            Err(_) => Err(Error::config(format!(
                "`bits` must be a number from 1 to 8, got `{text}`"
            ))),
        }
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Adds the noise of [`Cx`] to integer pixels: `z = x + u`, `u` in `[0, 1)`; log-det 0.
///
/// With uniform noise the expected log-likelihood of `z` is a lower bound on that of the pixels. Without noise `u` is
/// 0.5 everywhere, which makes an evaluation reproducible. The inverse is the identity on continuous images;
/// [`to_pixels`](super::to_pixels) rounds them down to the pixels they came from.
///
/// For fewer than 8 [`Bits`] there are `2^bits` pixel values, `s = 2^(8 - bits)` apart:
///
/// ```text
/// z = s floor(x / s) + s u,   log-det = D ln s
/// ```
///
/// Where: `D = C H W`. The log-det is that of `u -> z`, so that what comes out is the likelihood of the `bits` bits that are
/// left: uniformly random pixels have `bits` bits per dimension.
///
/// Source: Theis, van den Oord, Bethge, *A note on the evaluation of generative models*, 2016,
/// <https://arxiv.org/abs/1511.01844>; fewer bits: Kingma and Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dequantize(Bits);

impl Dequantize {
    /// For pixels of so many bits.
    pub fn new(bits: Bits) -> Self {
        Self(bits)
    }

    /// `ln s` of a number of the image.
    fn log_step(self) -> f64 {
        self.0.step().ln()
    }
}

impl Transform for Dequantize {
    fn name(&self) -> &'static str {
        "dequantize"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("dequantize", x)?;
        let step = self.0.step();
        let pixels = match self.0 {
            Bits::ALL => x.shallow_clone(),
            bits => bits.split(x)?.0,
        };
        let value = match cx.noise {
            None => pixels.f_add_scalar(0.5 * step)?,
            Some(noise) => {
                check_noise(noise, x)?;
                match self.0 {
                    Bits::ALL => pixels.f_add(noise)?,
                    _ => pixels.f_add(&noise.f_mul_scalar(step)?)?,
                }
            }
        };
        Ok(with_constant(value, (c * h * w) as f64 * self.log_step()))
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, c, h, w] = image_size("dequantize", z)?;
        let log_det = -(c * h * w) as f64 * self.log_step();
        Ok(with_constant(z.shallow_clone(), log_det))
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        Ok(chw)
    }

    fn torchscript(&self) -> Result<Script> {
        let script = Script::new("Dequantize", include_str!("dequantize.torchscript.py"))
            .with("step", self.0.step())
            .with("log_step", self.log_step());
        Ok(Script {
            takes_noise: true,
            ..script
        })
    }
}

fn check_noise(noise: &Tensor, x: &Tensor) -> Result<()> {
    if noise.size() == x.size() && noise.kind() == x.kind() && noise.device() == x.device() {
        return Ok(());
    }
    Err(Error::argument(
        "dequantize",
        "noise",
        format!(
            "must be like the images {:?} {} on {}, got {:?} {} on {}",
            x.size(),
            dtype(x.kind()),
            device(x.device()),
            noise.size(),
            dtype(noise.kind()),
            device(noise.device())
        ),
    ))
}
