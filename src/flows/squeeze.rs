//! Space to channels.

use super::check::image_size;
use super::{zero_log_det, Cx, Mapped, Transform};
use crate::torchscript::Script;
use crate::words::counted;
use crate::{Error, Result};
use tch::Tensor;

/// Moves every `factor` x `factor` block of pixels into the channels: a permutation, so its log-det is 0.
///
/// ```text
/// z[n, c f^2 + dy f + dx, h, w] = x[n, c, h f + dy, w f + dx],   f = factor
/// ```
///
/// or, if made by [`block_major`](Squeeze::block_major), with the channel `(dy f + dx) C + c` on the left: the colours of
/// a pixel stay neighbours. The order matters to layers that halve or group the channels.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C f^2, H/f, W/f]`.
///
/// Source: Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, 2017, <https://arxiv.org/abs/1605.08803>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Squeeze {
    factor: i64,
    block_major: bool,
}

impl Squeeze {
    /// Squeeze by `factor`, usually 2.
    ///
    /// # Errors
    /// [`Error::Config`] for a factor below 1.
    pub fn new(factor: i64) -> Result<Self> {
        if factor < 1 {
            return Err(Error::config(format!(
                "the squeeze factor must be 1 or more, got {factor}"
            )));
        }
        Ok(Self {
            factor,
            block_major: false,
        })
    }

    /// Squeeze by `factor` with the position in the block as the slower index of the new channels.
    ///
    /// # Errors
    /// As [`new`](Squeeze::new).
    pub fn block_major(factor: i64) -> Result<Self> {
        Ok(Self {
            block_major: true,
            ..Self::new(factor)?
        })
    }
}

impl Transform for Squeeze {
    fn name(&self) -> &'static str {
        "squeeze"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [n, c, h, w] = image_size("squeeze", x)?;
        let out = self.out_shape([c, h, w])?;
        let f = self.factor;
        // not pixel_unshuffle, which gives an empty batch the wrong shape
        let blocks = x.f_reshape([n, c, h / f, f, w / f, f])?;
        let order = if self.block_major {
            [0, 3, 5, 1, 2, 4]
        } else {
            [0, 1, 3, 5, 2, 4]
        };
        Ok(Mapped {
            value: blocks
                .f_permute(order)?
                .f_reshape([n, out[0], out[1], out[2]])?,
            log_det: zero_log_det(x)?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [n, c, h, w] = image_size("squeeze", z)?;
        let f = self.factor;
        let block = f * f;
        if c % block != 0 {
            return Err(Error::argument(
                "squeeze",
                "z",
                format!(
                    "must have a multiple of {}, got {c}",
                    counted(block, "channel")
                ),
            ));
        }
        let blocks = if self.block_major {
            z.f_reshape([n, f, f, c / block, h, w])?
                .f_permute([0, 3, 4, 1, 5, 2])?
        } else {
            z.f_reshape([n, c / block, f, f, h, w])?
                .f_permute([0, 1, 4, 2, 5, 3])?
        };
        Ok(Mapped {
            value: blocks.f_reshape([n, c / block, h * f, w * f])?,
            log_det: zero_log_det(z)?,
        })
    }

    fn out_shape(&self, [c, h, w]: [i64; 3]) -> Result<[i64; 3]> {
        let f = self.factor;
        if h % f != 0 || w % f != 0 {
            return Err(Error::config(format!(
                "squeeze needs a height and a width divisible by {f}, got {h}x{w}: pad or crop the image, or use fewer levels"
            )));
        }
        Ok([c * f * f, h / f, w / f])
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(
            Script::new("Squeeze", include_str!("squeeze.torchscript.py"))
                .with("factor", self.factor)
                .with("block_major", self.block_major),
        )
    }
}
