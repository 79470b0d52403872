//! CInC Flow's convolution; its coupling is [`QuadCoupling`](super::QuadCoupling).

use super::transform::named_transform;
use super::{Diagonal, InvConvConfig, MaskedConv};
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::nn;

/// Configuration of a [`Cinc`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CincConfig {
    /// Side k of the filters.
    pub kernel: i64,
    /// Standard deviation of the initial taps.
    pub init_std: f64,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Default for CincConfig {
    /// 3x3 taps of deviation 0.02 and a bias, as published.
    fn default() -> Self {
        Self {
            kernel: 3,
            init_std: 0.02,
            bias: true,
        }
    }
}

/// One masked convolution over all channels, from the top left corner, with a learnable diagonal.
///
/// ```text
/// z = A(W) x + b,   log-det = H W sum_c log W[c,c,anchor]
/// ```
///
/// Where: A is [`masked_conv2d`](crate::ops::masked_conv2d). The diagonal is `exp(theta)`, which starts near 1 and
/// cannot reach 0, the one thing that would make the layer singular. The published code stores k x k taps in a filter
/// of side 2k-1 and orders the channels the other way round, which is the same family of maps.
///
/// Variables: `weight` `[C, C, k, k]`, `bias` `[C]`.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`. Cost: a convolution forward, a solve of depth `H + W - 1` backward.
///
/// Source: Nagar, Dufraisse, Varma, *CInC Flow: Characterizable Invertible 3x3 Convolution*, 2021,
/// <https://arxiv.org/abs/2107.01358>.
#[derive(Debug)]
pub struct Cinc(MaskedConv);

impl Cinc {
    /// The layer for `channels` channels.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for no channels, and for a kernel or a deviation out of range.
    pub fn new(vs: &nn::Path, channels: i64, config: &CincConfig) -> Result<Self> {
        let conv = InvConvConfig {
            diagonal: Diagonal::Learnable,
            init_std: config.init_std,
            ..InvConvConfig::new(channels, config.kernel)
        };
        Ok(Self(MaskedConv::new(vs, &conv, config.bias)?))
    }
}

named_transform!(Cinc, "cinc");
