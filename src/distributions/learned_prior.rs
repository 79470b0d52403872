//! A learned normal density of the last latent, as the map that turns it into a standard one.

use crate::flows::check::{same_image, Placement};
use crate::flows::{sum_per_sample, Cx, Mapped, Transform};
use crate::torchscript::Script;
use crate::Result;
use tch::{nn, nn::Init, Tensor};

/// Learned prior: the latent has the density `N(mean, exp(2 log_std))`, element by element.
///
/// ```text
/// z = (x - mean) exp(-log_std),   log-det = -sum log_std
/// ```
///
/// Written as a layer, `z` is standard normal like all other latents, and sampling needs no special case.
///
/// Variables: `mean` and `log_std` `[1, C, H, W]`, 0 at the start.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`; the size is fixed by the parameters.
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug)]
pub struct LearnedPrior {
    chw: [i64; 3],
    mean: Tensor,
    log_std: Tensor,
    placement: Placement,
}

impl LearnedPrior {
    /// A prior for latents of shape `chw`, standard normal at the start.
    ///
    /// # Errors
    /// What libtorch reports when it cannot make the parameters.
    pub fn new(vs: &nn::Path, chw: [i64; 3]) -> Result<Self> {
        let size = [1, chw[0], chw[1], chw[2]];
        Ok(Self {
            chw,
            mean: vs.f_var("mean", &size, Init::Const(0.0))?,
            log_std: vs.f_var("log_std", &size, Init::Const(0.0))?,
            placement: Placement::in_path(vs),
        })
    }
}

impl Transform for LearnedPrior {
    fn name(&self) -> &'static str {
        "learned_prior"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let n = self.placement.check_image("learned_prior", self.chw, x)?;
        let log_scale = self.log_std.f_neg()?;
        Ok(Mapped {
            value: x.f_sub(&self.mean)?.f_mul(&log_scale.f_exp()?)?,
            log_det: sum_per_sample(&log_scale)?.f_expand([n], false)?,
        })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let n = self.placement.check_image("learned_prior", self.chw, z)?;
        Ok(Mapped {
            value: self.mean.f_addcmul(z, &self.log_std.f_exp()?)?,
            log_det: sum_per_sample(&self.log_std)?.f_expand([n], false)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_image("learned_prior", self.chw, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "LearnedPrior",
            include_str!("learned_prior.torchscript.py"),
        ))
    }
}
