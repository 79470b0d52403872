//! The masked convolution as a flow layer: what Emerging, FInC and CInC are made of.

use super::check::{same_channels, Placement};
use super::{Cx, InvConv, InvConvConfig, Inverted, Mapped, Transform};
use crate::ops::filter::RawFilter;
use crate::torchscript::Script;
use crate::Result;
use tch::{nn, nn::Init, Tensor};

/// Masked convolution with a bias: data to latent is a convolution, latent to data a triangular solve.
///
/// ```text
/// z = A(W) x + b,   x = A(W)^-1 (z - b),   log-det = H W sum_c log W[c,c,anchor]
/// ```
///
/// Where: A(W) and its constraint are those of [`InvConv`], read backwards. The published flows of this kind sample
/// by back substitution, pixel after pixel and channel after channel; here sampling is one
/// [`inv_conv2d`](crate::ops::inv_conv2d).
///
/// Variables: `weight` as in [`InvConv`], and `bias` `[C]`, 0 at the start, if asked for.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`. Cost: a convolution forward, a solve of depth `H + W - 1` backward.
#[derive(Debug)]
pub struct MaskedConv {
    channels: i64,
    conv: Inverted<InvConv>,
    bias: Option<Tensor>,
    placement: Placement,
}

impl MaskedConv {
    /// The convolution of `config`, with or without a bias.
    ///
    /// # Errors
    /// As [`InvConv::new`].
    pub fn new(vs: &nn::Path, config: &InvConvConfig, bias: bool) -> Result<Self> {
        let channels = config.channels;
        Ok(Self {
            channels,
            conv: Inverted(InvConv::new(vs, config)?),
            bias: bias
                .then(|| vs.f_var("bias", &[channels], Init::Const(0.0)))
                .transpose()?,
            placement: Placement::in_path(vs),
        })
    }

    /// The effective filter W `[C, C/g, k, k]`.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn weight(&self) -> Result<Tensor> {
        self.conv.0.weight()
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        self.placement
            .check_channels("masked_conv", self.channels, x)?;
        Ok(())
    }

    /// The bias as `[1, C, 1, 1]`.
    fn bias(&self) -> Result<Option<Tensor>> {
        let shaped = self.bias.as_ref().map(|b| b.f_view([1, -1, 1, 1]));
        Ok(shaped.transpose()?)
    }
}

impl Transform for MaskedConv {
    fn name(&self) -> &'static str {
        "masked_conv"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.check(x)?;
        let Mapped { value, log_det } = self.conv.forward(x, cx)?;
        let value = match self.bias()? {
            Some(bias) => value.f_add(&bias)?,
            None => value,
        };
        Ok(Mapped { value, log_det })
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.check(z)?;
        match self.bias()? {
            Some(bias) => self.conv.inverse(&z.f_sub(&bias)?, cx),
            None => self.conv.inverse(z, cx),
        }
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("masked_conv", self.channels, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        let script = match self.bias {
            Some(_) => Script::new(
                "MaskedConvBias",
                include_str!("masked_conv_bias.torchscript.py"),
            ),
            None => Script::new("MaskedConv", include_str!("masked_conv.torchscript.py")),
        };
        Ok(self.conv.0.with_constants(script))
    }

    fn raw_filters(&self) -> Vec<RawFilter<'_>> {
        self.conv.raw_filters()
    }
}
