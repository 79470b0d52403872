//! The inverse of a convolution as a flow layer: Inverse-Flow's own.

use super::check::{same_channels, Placement};
use super::{zero_log_det, Cx, Mapped, Transform};
use crate::ops::filter::{effective_filters, EffectiveFilter, RawFilter};
use crate::ops::{inv_conv2d, masked_conv2d, Corner};
use crate::torchscript::Script;
use crate::words::counted;
use crate::{Error, Result};
use tch::{nn, nn::Init, Tensor};

/// What stands on the diagonal of the anchor, the tap that multiplies the current pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagonal {
    /// Ones: the log-det is 0.
    Unit,
    /// `exp(theta[c,c])`: positive whatever the optimiser does to theta, so the layer cannot become singular.
    Learnable,
}

/// Configuration of an [`InvConv`].
#[derive(Debug, Clone, PartialEq)]
pub struct InvConvConfig {
    /// Channels C.
    pub channels: i64,
    /// Side k of the square filters.
    pub kernel: i64,
    /// One corner for each group of consecutive channels; their number must divide C.
    pub corners: Vec<Corner>,
    /// The diagonal of the anchor.
    pub diagonal: Diagonal,
    /// Standard deviation of the initial taps; small, so that the layer starts near the identity and its recursion
    /// is damped.
    pub init_std: f64,
    /// Keeps the recursion bounded: at every output the other taps sum to less than this part of the diagonal, in
    /// absolute value; between 0 and 1, or `None` for taps without a bound. See [`InvConv`].
    pub bound: Option<f64>,
}

impl InvConvConfig {
    /// Inverse-Flow's layer: one group from the top left corner, unit diagonal, initial taps of deviation 0.01, no bound.
    pub fn new(channels: i64, kernel: i64) -> Self {
        Self {
            channels,
            kernel,
            corners: vec![Corner::TopLeft],
            diagonal: Diagonal::Unit,
            init_std: 0.01,
            bound: None,
        }
    }
}

/// Inverse convolution: data to latent is a triangular solve, latent to data a masked convolution.
///
/// ```text
/// W = I0 + M * theta,   z = A(W)^-1 x,   x = A(W) z,   log-det = -H W sum_c log W[c,c,anchor]
/// ```
///
/// Where: A(W) is the convolution that is zero-padded on its corner's side only (see [`masked_conv2d`]); M is 1 on
/// every tap but the anchor, and there 1 strictly below the diagonal; I0 is the diagonal, 1 or `exp(theta)` by
/// [`Diagonal`]. The constraint is part of W, so no optimiser, weight decay or checkpoint can break it, and with
/// [`Diagonal::Unit`] the log-det is exactly 0.
///
/// # The bounded recursion
/// Nothing above keeps the recursion from growing exponentially along the image when training makes the taps large. With
/// `bound` = b, the taps of each output o are scaled together:
///
/// ```text
/// W[o] = I0[o] + (M * theta)[o] / sqrt(1 + (r_o / (b d_o))^2),   r_o = sum |(M * theta)[o]|,   d_o = W[o,o,anchor]
/// ```
///
/// The scaled taps of o sum to `r_o / sqrt(1 + (r_o / (b d_o))^2) < b d_o`, whatever theta is. Divide each row of
/// `A z = x` by its diagonal: `D^-1 A = I + N`, where the rows of N, the strictly lower anchor included, sum to less than
/// b in absolute value. So `max|z| <= max|D^-1 x| + b max|z|`, which is
///
/// ```text
/// max|z| <= max|x| / ((1 - b) min d)      and for the gradient   sum|A^-T g| <= sum|g| / ((1 - b) min d)
/// ```
///
/// (the same matrix norm, transposed), for images of any size; `max|x| <= (1 + b) max d max|z|` for the convolution.
/// A stack of L layers with unit diagonals grows by at most `(1 - b)^-L`. The diagonal is not touched, nor is the log-det.
/// The scale is 1 up to second order in small theta, so a layer starts as without a bound; like the absolute value it has
/// a kink, as small as the taps, where one of theta is 0. In return, the layer cannot weigh its neighbours by more than b
/// in all.
///
/// Variables: `weight` = theta `[C, C/g, k, k]`, `g` groups. Entries that M and I0 leave out have gradient 0.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`. Cost: a solve of depth `H + W - 1` forward, a convolution backward.
///
/// Source: Nagar, Kallappa, Varma, *Inverse-Flow*, AISTATS 2025.
#[derive(Debug)]
pub struct InvConv {
    channels: i64,
    corners: Vec<Corner>,
    diagonal: Diagonal,
    bound: Option<f64>,
    theta: Tensor,
    /// M, constant.
    mask: Tensor,
    /// 1 on the diagonal of every anchor, constant.
    identity: Tensor,
    /// Where in each output's taps that is.
    diagonal_places: Tensor,
    placement: Placement,
}

impl InvConv {
    /// A layer with taps drawn from `N(0, init_std^2)`.
    ///
    /// # Errors
    /// [`Error::Config`] for corners that do not divide the channels, and for a kernel or a deviation out of range.
    pub fn new(vs: &nn::Path, config: &InvConvConfig) -> Result<Self> {
        config.check()?;
        let InvConvConfig {
            channels, kernel, ..
        } = *config;
        let group = channels / config.corners.len() as i64;
        let theta = vs.f_var(
            "weight",
            &[channels, group, kernel, kernel],
            Init::Randn {
                mean: 0.0,
                stdev: config.init_std,
            },
        )?;
        let mask = theta.f_ones_like()?;
        let identity = theta.f_zeros_like()?;
        let mut places = Vec::with_capacity(channels as usize);
        for (index, corner) in (0..).zip(&config.corners) {
            let (row, column) = corner.anchor_index(kernel);
            let anchor = |of: &Tensor| {
                of.f_narrow(0, index * group, group)?
                    .f_select(3, column)?
                    .f_select(2, row)
            };
            // views of tensors that nobody else has seen yet: in place is safe
            let _ = anchor(&mask)?.f_tril_(-1)?;
            anchor(&identity)?.f_copy_(&Tensor::f_eye(group, (theta.kind(), theta.device()))?)?;
            let place = |channel| (channel * kernel + row) * kernel + column;
            places.extend((0..group).map(|channel| place(channel) as i32));
        }
        Ok(Self {
            channels,
            corners: config.corners.clone(),
            diagonal: config.diagonal,
            bound: config.bound,
            placement: Placement::in_path(vs),
            diagonal_places: Tensor::f_from_slice(&places)?.f_to_device(theta.device())?,
            theta,
            mask,
            identity,
        })
    }

    /// The effective filter W `[C, C/g, k, k]`.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn weight(&self) -> Result<Tensor> {
        Ok(self.own_filter()?.weight)
    }

    /// What the filter is made of.
    fn raw(&self) -> RawFilter<'_> {
        RawFilter {
            theta: &self.theta,
            mask: &self.mask,
            identity: &self.identity,
            diagonal: &self.diagonal_places,
            learnable: self.diagonal == Diagonal::Learnable,
            bound: self.bound,
        }
    }

    fn own_filter(&self) -> Result<EffectiveFilter> {
        let made = effective_filters(&[self.raw()])?.pop();
        made.ok_or_else(|| Error::Torch("the filter of an inverse convolution is missing".into()))
    }

    /// The filter that the model has made, else a new one.
    fn filter(&self, cx: Cx<'_>) -> Result<EffectiveFilter> {
        match cx.filters.and_then(|filters| filters.get(&self.theta)) {
            None => self.own_filter(),
            Some(filter) => Ok(EffectiveFilter {
                weight: filter.weight.shallow_clone(),
                log_diagonal: filter.log_diagonal.as_ref().map(Tensor::shallow_clone),
            }),
        }
    }

    /// `script` with what it needs to know about the filter.
    pub(super) fn with_constants(&self, script: Script) -> Script {
        let corners: Vec<_> = self.corners.iter().map(|corner| corner.name()).collect();
        script
            .with("corners", corners.as_slice())
            .with("learnable", self.diagonal == Diagonal::Learnable)
            .with("bound", self.bound.unwrap_or(0.0))
    }

    /// `log|det ∂Az/∂z| * sign`, for a batch like `x`, from the log-determinant of the diagonal.
    fn log_det(x: &Tensor, log_diagonal: Option<&Tensor>, sign: f64) -> Result<Tensor> {
        let Some(log_diagonal) = log_diagonal else {
            return zero_log_det(x);
        };
        let size = x.size();
        let pixels = (size[2] * size[3]) as f64;
        Ok(log_diagonal
            .f_mul_scalar(sign * pixels)?
            .f_expand([size[0]], false)?)
    }
}

impl Transform for InvConv {
    fn name(&self) -> &'static str {
        "inv_conv"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.placement
            .check_channels("inv_conv", self.channels, x)?;
        let filter = self.filter(cx)?;
        Ok(Mapped {
            value: inv_conv2d(x, &filter.weight, &self.corners)?,
            log_det: Self::log_det(x, filter.log_diagonal.as_ref(), -1.0)?,
        })
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.placement
            .check_channels("inv_conv", self.channels, z)?;
        let filter = self.filter(cx)?;
        Ok(Mapped {
            value: masked_conv2d(z, &filter.weight, &self.corners)?,
            log_det: Self::log_det(z, filter.log_diagonal.as_ref(), 1.0)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("inv_conv", self.channels, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(self.with_constants(Script::new(
            "InvConv",
            include_str!("inv_conv.torchscript.py"),
        )))
    }

    fn raw_filters(&self) -> Vec<RawFilter<'_>> {
        vec![self.raw()]
    }
}

impl InvConvConfig {
    fn check(&self) -> Result<()> {
        let groups = self.corners.len() as i64;
        if groups == 0 || self.channels < 1 || self.channels % groups != 0 {
            return Err(Error::config(format!(
                "inv_conv needs corners that divide its channels into equal groups, got {} for {}",
                counted(groups, "corner"),
                counted(self.channels, "channel")
            )));
        }
        if self.kernel < 1 {
            return Err(Error::config(format!(
                "`kernel`, the side of the convolution's filters, must be 1 or more, got {}",
                self.kernel
            )));
        }
        if !(self.init_std >= 0.0 && self.init_std.is_finite()) {
            return Err(Error::config(format!(
                "`init_std`, the deviation of the initial taps, must be a number from 0 on, got {}",
                self.init_std
            )));
        }
        if let Some(bound) = self.bound.filter(|bound| !(*bound > 0.0 && *bound < 1.0)) {
            return Err(Error::config(format!(
                "`bound`, the limit on the sum of the taps, must be a number between 0 and 1, got {bound}"
            )));
        }
        Ok(())
    }
}
