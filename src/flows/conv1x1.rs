//! Invertible 1x1 convolution: a learned mixing of the channels.

use super::check::{same_channels, Placement};
use super::{Cx, Mapped, Transform};
use crate::ops::log_det::{log_det, Matrix};
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, nn::Init, Kind, Tensor};

/// Invertible 1x1 convolution.
///
/// ```text
/// z[n,:,h,w] = W x[n,:,h,w],   log-det = H W log|det W|
/// ```
///
/// Determinant and inverse are computed in float64, anew at every call: a C x C matrix is small beside an image, and
/// nothing kept could go stale when the weights change.
///
/// Variables: `weight` = W `[C, C]`, drawn as a random orthogonal matrix, so that the first log-det is 0.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`. Cost: one matrix product in both directions, and O(C^3) once a call.
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug)]
pub struct Conv1x1 {
    channels: i64,
    weight: Tensor,
    placement: Placement,
}

impl Conv1x1 {
    /// A random rotation of `channels` channels.
    ///
    /// # Errors
    /// [`Error::Config`] for no channels.
    pub fn new(vs: &nn::Path, channels: i64) -> Result<Self> {
        if channels < 1 {
            return Err(Error::config(format!(
                "conv1x1 needs at least one channel, got {channels}"
            )));
        }
        let orthogonal = Init::Orthogonal { gain: 1.0 };
        Ok(Self {
            channels,
            weight: vs.f_var("weight", &[channels, channels], orthogonal)?,
            placement: Placement::in_path(vs),
        })
    }

    /// `copies log|det W|` for a batch like `x`.
    fn log_det(&self, x: &Tensor, copies: i64) -> Result<Tensor> {
        log_det(&[(Matrix::Full(&self.weight), copies as f64)], x.size()[0])
    }
}

impl Transform for Conv1x1 {
    fn name(&self) -> &'static str {
        "conv1x1"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, _, h, w] = self.placement.check_channels("conv1x1", self.channels, x)?;
        Ok(Mapped {
            value: mix_channels(x, &self.weight)?,
            log_det: self.log_det(x, h * w)?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [_, _, h, w] = self.placement.check_channels("conv1x1", self.channels, z)?;
        Ok(Mapped {
            value: mix_channels(z, &inverse_matrix(&self.weight)?)?,
            log_det: self.log_det(z, -h * w)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("conv1x1", self.channels, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "Conv1x1",
            include_str!("conv1x1.torchscript.py"),
        ))
    }
}

/// `weight` `[C', C]` times the channels of `x` `[N, C, H, W]`, as one matrix product for each image.
pub(super) fn mix_channels(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (size, matrix) = (x.size(), weight.size());
    let [n, c, h, w] = [size[0], size[1], size[2], size[3]];
    let weight = weight
        .f_unsqueeze(0)?
        .f_expand([n, matrix[0], matrix[1]], false)?;
    let mixed = weight.f_bmm(&x.f_reshape([n, c, h * w])?)?;
    Ok(mixed.f_view([n, matrix[0], h, w])?)
}

/// `log|det|` of a square matrix, 0-d, in float64.
pub(super) fn log_abs_det(matrix: &Tensor) -> Result<Tensor> {
    Ok(matrix.f_to_kind(Kind::Double)?.f_slogdet()?.1)
}

/// The inverse of a square matrix, computed in float64 and returned in the matrix's kind.
pub(super) fn inverse_matrix(matrix: &Tensor) -> Result<Tensor> {
    let exact = Tensor::f_linalg_inv(&matrix.f_to_kind(Kind::Double)?)?;
    Ok(exact.f_to_kind(matrix.kind())?)
}

/// A 0-d number as the log-det `[N]` of a batch like `x`, in its kind.
pub(super) fn for_each_sample(number: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(number.f_to_kind(x.kind())?.f_expand([x.size()[0]], false)?)
}
