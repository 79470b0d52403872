//! Masked residual block: a convolutional network whose Jacobian is triangular with a positive diagonal.

use super::check::{same_image, Placement};
use super::fixed_point::{largest, FixedPoint};
use super::{sum_per_sample, Cx, Mapped, Transform, Triangle};
use crate::nn::Precision;
use crate::ops::masked_residual::{
    elu_with_slope, residual_filters, ResidualFilters, ResidualWeights,
};
use crate::torchscript::Script;
use crate::words::counted;
use crate::{Error, Result};
use tch::{nn, nn::Init, Kind, Tensor};

/// Gain of the initial weights: small, so that a block starts near the identity.
const INIT_GAIN: f64 = 0.005;
/// Masked residual block.
///
/// ```text
/// h1 = W1 * x + b1,   h2 = W2 * elu(h1) + b2,   z = W3 * elu(h2) + b3 + s x,   s = max(|t|, 1e-12)
/// ```
///
/// Three 3x3 convolutions between C, `l C`, `l C` and C channels, where hidden channel `a C + i` belongs to colour i.
/// All three are masked alike: a path from colour j to colour i < j is cut, one from j = i sees the taps up to the
/// centre, one from j < i all taps (for [`Triangle::Upper`] the mirror image of this). So the Jacobian is triangular, and
/// only centre taps of equal colours reach its diagonal. The signs of those of `W2` are chosen so that no path is
/// negative:
///
/// ```text
/// dz_i/dx_i = s + sum_ab |W3_ai| elu'(h2_ai) |W2_abi| elu'(h1_bi) |W1_bi| > 0,   log-det = sum log dz_i/dx_i
/// ```
///
/// `forward` is one pass. `inverse` repeats `x <- x + (z - f(x)) / (damping dz/dx)` and checks the residual; if it stays
/// above the tolerance, that is an error, not a wrong image. Under autograd all its steps are recorded.
///
/// Variables: `weight1` `[lC, C, 3, 3]`, `weight2` `[lC, lC, 3, 3]`, `weight3` `[C, lC, 3, 3]`, `bias1`, `bias2`, `bias3`,
/// and `t` `[1, C, H, W]`, which is 1 at the start. Masked entries keep their first value and are never read.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`; the size is fixed by `t`.
///
/// Source: Song, Meng, Ermon, *MintNet: building invertible neural networks with masked convolutions*, 2019,
/// <https://arxiv.org/abs/1907.07945>.
#[derive(Debug)]
pub struct MaskedResidual {
    chw: [i64; 3],
    triangle: Triangle,
    weights: [Tensor; 3],
    biases: [Tensor; 3],
    t: Tensor,
    solver: FixedPoint,
    placement: Placement,
}

/// `f(x)` and the diagonal of its Jacobian, both like `x`.
struct Pass {
    value: Tensor,
    diagonal: Tensor,
}

impl MaskedResidual {
    /// A block for images of shape `chw` with `multiplicity` hidden channels for each colour.
    ///
    /// # Errors
    /// [`Error::Config`] for no hidden channels, an empty image, or a solver that cannot converge.
    pub fn new(
        vs: &nn::Path,
        chw: [i64; 3],
        multiplicity: i64,
        triangle: Triangle,
        solver: FixedPoint,
    ) -> Result<Self> {
        let [c, h, w] = chw;
        if chw.iter().any(|&size| size < 1) || multiplicity < 1 {
            return Err(Error::config(format!(
                "a masked residual block needs an image and a latent multiplicity of 1 or more, got {chw:?} and \
                 {multiplicity}: use fewer subsamplings or more latent channels"
            )));
        }
        solver.check()?;
        let n = multiplicity * c;
        let weight = |name: &str, outputs: i64, inputs: i64| -> Result<Tensor> {
            let init = Init::Randn {
                mean: 0.0,
                stdev: INIT_GAIN * (2.0 / (9 * (inputs + outputs)) as f64).sqrt(),
            };
            Ok(vs.f_var(name, &[outputs, inputs, 3, 3], init)?)
        };
        let bias = |name: &str, outputs: i64, inputs: i64| -> Result<Tensor> {
            let bound = 1.0 / ((9 * inputs) as f64).sqrt();
            let init = Init::Uniform {
                lo: -bound,
                up: bound,
            };
            Ok(vs.f_var(name, &[outputs], init)?)
        };
        Ok(Self {
            chw,
            triangle,
            weights: [
                weight("weight1", n, c)?,
                weight("weight2", n, n)?,
                weight("weight3", c, n)?,
            ],
            biases: [
                bias("bias1", n, c)?,
                bias("bias2", n, n)?,
                bias("bias3", c, n)?,
            ],
            t: vs.f_var("t", &[1, c, h, w], Init::Const(1.0))?,
            solver,
            placement: Placement::in_path(vs),
        })
    }

    fn weights(&self) -> Result<ResidualFilters> {
        let [w1, w2, w3] = &self.weights;
        let weights = ResidualWeights {
            filters: [w1, w2, w3],
            t: &self.t,
        };
        residual_filters(&weights, self.triangle)
    }

    fn pass(&self, weights: &ResidualFilters, x: &Tensor) -> Result<Pass> {
        let [c, h, w] = self.chw;
        let n = x.size()[0];
        let conv = |x: &Tensor, index: usize| {
            let (weight, bias) = (&weights.filters[index], &self.biases[index]);
            x.f_conv2d(weight, Some(bias), [1], [1], [1], 1)
        };
        let (elu1, slope1) = elu_with_slope(&conv(x, 0)?, c)?;
        let (elu2, slope2) = elu_with_slope(&conv(&elu1, 1)?, c)?;
        let value = conv(&elu2, 2)?.f_addcmul(&weights.slope, x)?;
        // one product per colour, not one number per path and pixel
        let inner = weights.paths.f_bmm(&slope1)?;
        let diagonal = inner
            .f_mul(&slope2)?
            .f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?
            .f_view([c, n, h, w])?
            .f_transpose(0, 1)?
            .f_add(&weights.slope)?;
        Ok(Pass { value, diagonal })
    }
}

impl Transform for MaskedResidual {
    fn name(&self) -> &'static str {
        "masked_residual"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.placement.check_image("masked_residual", self.chw, x)?;
        let Pass { value, diagonal } = self.pass(&self.weights()?, x)?;
        Ok(Mapped {
            value,
            log_det: sum_per_sample(&diagonal.f_log()?)?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.placement.check_image("masked_residual", self.chw, z)?;
        let weights = self.weights()?;
        let tolerance = self.solver.tolerance(z.kind());
        let scale = z.f_abs()?.f_add_scalar(1.0)?;
        let mut x = z.f_div(&weights.slope)?;
        let mut residual = f64::NAN;
        for _ in 0..=self.solver.iterations {
            let Pass { value, diagonal } = self.pass(&weights, &x)?;
            let rest = z.f_sub(&value)?;
            residual = largest(&rest.f_detach()?.f_div(&scale)?)?;
            if residual <= tolerance {
                return Ok(Mapped {
                    value: x,
                    log_det: sum_per_sample(&diagonal.f_log()?)?.f_neg()?,
                });
            }
            let step = rest.f_div(&diagonal.f_mul_scalar(self.solver.damping)?)?;
            x = x.f_add(&step)?;
        }
        Err(Error::NotConverged {
            layer: "masked_residual",
            problem: format!(
                "the residual of the fixed-point inverse is {residual:.1e} after {}, allowed {tolerance:.1e}: \
                 use more `iterations` or a larger `damping` (now {})",
                counted(self.solver.iterations, "iteration"),
                self.solver.damping
            ),
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_image("masked_residual", self.chw, chw)
    }

    /// Float32 alone: these convolutions are the map itself, whose inverse and log-det need all of their bits.
    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        match precision {
            Precision::Float32 => Ok(()),
            other => Err(Error::config(format!(
                "a masked residual block has no net beside the map: its convolutions are what is inverted and what the log-det \
                 is of, which {other} is too coarse for: leave the precision at float32"
            ))),
        }
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(
            Script::new("MaskedResidual", include_str!("mintnet.torchscript.py"))
                .with("lower", self.triangle == Triangle::Lower)
                .with("damping", self.solver.damping)
                .with("iterations", i64::from(self.solver.iterations))
                .with("tolerance", self.solver.tolerance),
        )
    }
}
