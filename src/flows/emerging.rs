//! The emerging convolution.

use super::transform::named_transform;
use super::{Conv1x1, Diagonal, InvConvConfig, MaskedConv, Sequential};
use crate::ops::Corner;
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::nn;

/// Configuration of an [`Emerging`] convolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmergingConfig {
    /// Side k of the filters of both masked convolutions; together they see `2k - 1` pixels each way.
    pub kernel: i64,
}

impl Default for EmergingConfig {
    /// Two 2x2 convolutions that together see 3x3 pixels, as published.
    fn default() -> Self {
        Self { kernel: 2 }
    }
}

/// A 1x1 convolution and two masked ones from opposite corners, whose receptive fields add up to a square.
///
/// ```text
/// z = A2 (A1 W x + b1) + b2,   log-det = H W (log|det W| + sum_c log D1[c,c] + sum_c log D2[c,c])
/// ```
///
/// Where: A1 and A2 are [`masked_conv2d`](crate::ops::masked_conv2d) from the top left and the bottom right corner, D1
/// and D2 their anchors, with `exp(theta)` on the diagonal so that none can become singular. The published layer turns
/// the image by 180 degrees around its second convolution; the other corner is the same without moving a pixel.
/// Sampling is two [`inv_conv2d`](crate::ops::inv_conv2d) and one matrix inverse.
///
/// Variables: `conv1x1.weight` `[C, C]`, orthogonal; `top_left` and `bottom_right`, each `weight` `[C, C, k, k]` of
/// deviation `1/(2C)` and `bias` `[C]`.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`. Cost: three convolutions forward, two solves of depth `H + W - 1` backward.
///
/// Source: Hoogeboom, van den Berg, Welling, *Emerging Convolutions for Generative Normalizing Flows*, 2019,
/// <https://arxiv.org/abs/1901.11137>.
#[derive(Debug)]
pub struct Emerging(Sequential);

impl Emerging {
    /// The layer for `channels` channels.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for no channels or a kernel below 1.
    pub fn new(vs: &nn::Path, channels: i64, config: &EmergingConfig) -> Result<Self> {
        let masked = |name: &'static str, corner| {
            let conv = InvConvConfig {
                channels,
                kernel: config.kernel,
                corners: vec![corner],
                diagonal: Diagonal::Learnable,
                init_std: 0.5 / channels as f64,
                bound: None,
            };
            MaskedConv::new(&(vs / name), &conv, true)
        };
        let layers = Sequential::new()
            .push("conv1x1", Conv1x1::new(&(vs / "conv1x1"), channels)?)
            .push("top_left", masked("top_left", Corner::TopLeft)?)
            .push("bottom_right", masked("bottom_right", Corner::BottomRight)?);
        Ok(Self(layers))
    }
}

named_transform!(Emerging, "emerging");
