//! Self-normalizing convolution: a learned approximate inverse supplies the gradient of the log-det.

use super::check::{same_channels, Placement};
use super::conv1x1::{for_each_sample, inverse_matrix, log_abs_det, mix_channels};
use super::self_norm_grad::{adjoint, conv, SelfNormalised};
use super::{Cx, Mapped, Transform};
use crate::autograd::apply;
use crate::torchscript::Script;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{nn, nn::Init, Kind, Tensor};

/// Deviation of the initial taps beside the identity, before Xavier's factor; only for k > 1.
const NOISE_GAIN: f64 = 0.01;

/// Configuration of a [`SelfNorm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfNormConfig {
    /// Side k of the filters; odd, since they are centred.
    pub kernel: i64,
    /// Weight of the reconstruction loss that keeps R an inverse of W.
    pub lambda: f64,
    /// Whether the reconstruction loss looks at `W R z` too, not only at `R W x`.
    pub symmetric: bool,
}

impl Default for SelfNormConfig {
    /// 1x1 with the weight 100 that is published for MNIST.
    fn default() -> Self {
        Self {
            kernel: 1,
            lambda: 100.0,
            symmetric: false,
        }
    }
}

/// Self-normalizing convolution, centred and without any mask.
///
/// ```text
/// z = W * x + b,   log-det = log|det ∂z/∂x|,   R ≈ W^-1 a second filter
/// ```
///
/// Training ([`Cx::training`]) never computes the log-det: it counts as 0, and its gradient with respect to W, which
/// is a sum of entries of `W^-T`, is read off R; the formulas are in `self_norm_grad.rs`. R stays an inverse because the
/// auxiliary loss [`reconstruction_loss`](Self::reconstruction_loss) says so. So the likelihood that a training step
/// reports lacks the log-dets of these layers; evaluation is exact.
///
/// Evaluation needs `log|det W|` of a C x C matrix for k = 1. For k > 1 it needs that of the dense operator of
/// `C H W` rows, O((C H W)^3) once a call: meant for small images.
///
/// Variables: `weight` = W and `inverse` = R, both `[C, C, k, k]`, `bias` `[C]`. At the start W is orthogonal for
/// k = 1, else the identity and a little noise, and `R = W^T`.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`.
///
/// Source: Keller, Peters, Jaini, Hoogeboom, Forré, Welling, *Self Normalizing Flows*, 2021,
/// <https://arxiv.org/abs/2011.07248>.
#[derive(Debug)]
pub struct SelfNorm {
    channels: i64,
    config: SelfNormConfig,
    weight: Tensor,
    inverse: Tensor,
    bias: Tensor,
    placement: Placement,
}

impl SelfNorm {
    /// The layer for `channels` channels.
    ///
    /// # Errors
    /// [`Error::Config`] for no channels, an even kernel, or a negative weight of the reconstruction loss.
    pub fn new(vs: &nn::Path, channels: i64, config: &SelfNormConfig) -> Result<Self> {
        let kernel = config.kernel;
        if channels < 1 {
            return Err(Error::config(format!(
                "self_norm needs at least one channel, got {channels}"
            )));
        }
        if kernel < 1 || kernel % 2 == 0 {
            return Err(Error::config(format!(
                "`kernel` of a self-normalizing convolution must be odd, since its filters are centred, got {kernel}: \
                 use 1 or 3"
            )));
        }
        if !(config.lambda >= 0.0 && config.lambda.is_finite()) {
            return Err(Error::config(format!(
                "`lambda`, the weight of the reconstruction loss, must be a number from 0 on, got {}",
                config.lambda
            )));
        }
        let size = [channels, channels, kernel, kernel];
        // Xavier's deviation for as many inputs as outputs
        let noise = NOISE_GAIN / ((channels * kernel * kernel) as f64).sqrt();
        let randn = |stdev| Init::Randn { mean: 0.0, stdev };
        let weight = if kernel == 1 {
            // drawn as a matrix: the initialiser drops further dimensions
            let orthogonal = Init::Orthogonal { gain: 1.0 };
            let matrix = nn::f_init(orthogonal, &size[..2], vs.device(), vs.kind())?;
            vs.f_var_copy("weight", &matrix.f_view(size)?)?
        } else {
            let weight = vs.f_var("weight", &size, randn(noise))?;
            tch::no_grad(|| -> Result<()> {
                let middle = kernel / 2;
                let mut centre = weight.f_select(3, middle)?.f_select(2, middle)?;
                let identity = Tensor::f_eye(channels, (vs.kind(), vs.device()))?;
                let _ = centre.f_add_(&identity)?;
                Ok(())
            })?;
            weight
        };
        let inverse = vs.f_var_copy("inverse", &adjoint(&weight.detach())?)?;
        Ok(Self {
            channels,
            config: config.clone(),
            weight,
            inverse,
            bias: vs.f_var("bias", &[channels], randn(noise))?,
            placement: Placement::in_path(vs),
        })
    }

    /// `R * (z - b)`: the cheap inverse, as good as R is.
    ///
    /// # Errors
    /// A shape, kind or device that the parameters do not fit.
    pub fn approximate_inverse(&self, z: &Tensor) -> Result<Tensor> {
        self.check(z)?;
        conv(&self.without_bias(z)?, &self.inverse)
    }

    /// `lambda mean_n |x - R W x|^2`, and with `symmetric` its mean with that of `|z - W R z|^2` for `z = W x`; 0-d.
    ///
    /// Neither the input x nor the target z gets a gradient from it: it shapes R and W, not the layers before.
    ///
    /// # Errors
    /// A shape, kind or device that the parameters do not fit.
    pub fn reconstruction_loss(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        self.normalised(x).loss(x, &self.weight, &self.inverse)
    }

    /// The training step's function for a batch like `x`.
    fn normalised(&self, x: &Tensor) -> SelfNormalised {
        SelfNormalised {
            scale: self.config.lambda / x.size()[0].max(1) as f64,
            symmetric: self.config.symmetric,
        }
    }

    fn check(&self, x: &Tensor) -> Result<[i64; 4]> {
        self.placement.check_channels("self_norm", self.channels, x)
    }

    fn without_bias(&self, z: &Tensor) -> Result<Tensor> {
        Ok(z.f_sub(&self.bias.f_view([1, -1, 1, 1])?)?)
    }

    /// W as `[C, C]`; k = 1 only.
    fn matrix(&self) -> Result<Tensor> {
        Ok(self.weight.f_view([self.channels, self.channels])?)
    }

    /// The convolution with W on an image of `[h, w]` as a matrix `[C H W, C H W]`, float64.
    fn dense(&self, [h, w]: [i64; 2]) -> Result<Tensor> {
        let dims = self.channels * h * w;
        let device = self.weight.device();
        let basis = Tensor::f_eye(dims, (Kind::Double, device))?;
        let weight = self.weight.f_to_kind(Kind::Double)?;
        // row i holds the image of the i-th basis vector: a column of the operator
        let columns = conv(&basis.f_view([dims, self.channels, h, w])?, &weight)?;
        Ok(columns.f_view([dims, dims])?.f_transpose(0, 1)?)
    }

    /// `log|det ∂z/∂x|` for one image of `[h, w]`, 0-d, float64.
    fn exact_log_det(&self, [h, w]: [i64; 2]) -> Result<Tensor> {
        if self.config.kernel == 1 {
            return Ok(log_abs_det(&self.matrix()?)?.f_mul_scalar((h * w) as f64)?);
        }
        log_abs_det(&self.dense([h, w])?)
    }
}

impl Transform for SelfNorm {
    fn name(&self) -> &'static str {
        "self_norm"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let [_, _, h, w] = self.check(x)?;
        if let Some(losses) = cx.training {
            let inputs = [x, &self.weight, &self.inverse, &self.bias];
            let [value, log_det, loss] =
                <[Tensor; 3]>::try_from(apply(self.normalised(x), &inputs)?)
                    .map_err(|_| Error::Torch("a custom function lost an output".into()))?;
            losses.add(loss);
            return Ok(Mapped { value, log_det });
        }
        let bias = self.bias.f_view([1, -1, 1, 1])?;
        Ok(Mapped {
            value: conv(x, &self.weight)?.f_add(&bias)?,
            log_det: for_each_sample(&self.exact_log_det([h, w])?, x)?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [n, c, h, w] = self.check(z)?;
        let centred = self.without_bias(z)?;
        let value = if self.config.kernel == 1 {
            mix_channels(&centred, &inverse_matrix(&self.matrix()?)?)?
        } else {
            let columns = centred
                .f_reshape([n, c * h * w])?
                .f_transpose(0, 1)?
                .f_to_kind(Kind::Double)?;
            Tensor::f_linalg_solve(&self.dense([h, w])?, &columns, true)?
                .f_transpose(0, 1)?
                .f_reshape([n, c, h, w])?
                .f_to_kind(z.kind())?
        };
        let log_det = self.exact_log_det([h, w])?.f_neg()?;
        Ok(Mapped {
            value,
            log_det: for_each_sample(&log_det, z)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("self_norm", self.channels, chw)
    }

    fn trains_without_log_det(&self) -> bool {
        true
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "SelfNorm",
            include_str!("self_norm.torchscript.py"),
        ))
    }
}
