//! FInC Flow's layer.

use super::transform::named_transform;
use super::{Diagonal, InvConvConfig, MaskedConv};
use crate::ops::Corner;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn;

/// Configuration of a [`Finc`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FincConfig {
    /// Side k of the filters.
    pub kernel: i64,
    /// Standard deviation of the initial taps.
    pub init_std: f64,
}

impl Default for FincConfig {
    /// 3x3 taps of deviation 0.05, as published.
    fn default() -> Self {
        Self {
            kernel: 3,
            init_std: 0.05,
        }
    }
}

/// Four masked convolutions side by side: a quarter of the channels from each corner of the image.
///
/// ```text
/// z = A(W) x,   log-det = 0
/// ```
///
/// Where: A is [`masked_conv2d`](crate::ops::masked_conv2d) with four groups, one a corner, and unit diagonals. All
/// four are one operator call, in both directions. The groups never mix: permute the channels between two layers.
///
/// Variables: `weight` `[C, C/4, k, k]`.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`, C a multiple of 4. Cost: a convolution forward, a solve of depth `H + W - 1`
/// backward.
///
/// Source: Kallappa, Nagar, Varma, *FInC Flow: Fast and Invertible k x k Convolutions for Normalizing Flows*, 2023,
/// <https://arxiv.org/abs/2301.09266>.
#[derive(Debug)]
pub struct Finc(MaskedConv);

impl Finc {
    /// The layer for `channels` channels.
    ///
    /// # Errors
    /// [`Error::Config`] unless 4 divides the channels, and for a kernel or a deviation out of range.
    pub fn new(vs: &nn::Path, channels: i64, config: &FincConfig) -> Result<Self> {
        let groups = Corner::ALL.len() as i64;
        if channels < 1 || channels % groups != 0 {
            return Err(Error::config(format!(
                "finc needs a number of channels divisible by {groups}, one group for each corner, got {channels}: \
                 squeeze the images first"
            )));
        }
        let conv = InvConvConfig {
            channels,
            kernel: config.kernel,
            corners: Corner::ALL.to_vec(),
            diagonal: Diagonal::Unit,
            init_std: config.init_std,
            bound: None,
        };
        Ok(Self(MaskedConv::new(vs, &conv, false)?))
    }
}

named_transform!(Finc, "finc");
