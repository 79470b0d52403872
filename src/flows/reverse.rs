//! A fixed permutation of the channels.

use super::check::image_size;
use super::{zero_log_det, Cx, Mapped, Transform};
use crate::torchscript::Script;
use crate::Result;
use tch::Tensor;

/// Reverses the order of the channels: its own inverse, log-det 0.
///
/// A coupling leaves the first half of the channels as it is; a reversal before every coupling makes the halves take
/// turns, so that every channel is transformed.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`, `z[:, c] = x[:, C-1-c]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReverseChannels;

impl Transform for ReverseChannels {
    fn name(&self) -> &'static str {
        "reverse_channels"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        image_size("reverse_channels", x)?;
        Ok(Mapped {
            value: x.f_flip([1])?,
            log_det: zero_log_det(x)?,
        })
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.forward(z, cx)
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        Ok(chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "ReverseChannels",
            include_str!("reverse.torchscript.py"),
        ))
    }
}
