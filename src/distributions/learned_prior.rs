//! A learned normal density of the last latent, as the map that turns it into a standard one.

use crate::flows::check::{same_image, Placement};
use crate::flows::{sum_per_sample, Cx, Mapped, Transform};
use crate::nn::of_class;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, nn::Init, Tensor};

/// Learned prior: the latent has the density `N(mean, exp(2 log_std))`, element by element.
///
/// ```text
/// z = (x - mean) exp(-log_std),   log-det = -sum log_std
/// ```
///
/// Written as a layer, `z` is standard normal like all other latents, and sampling needs no special case. With
/// [classes](LearnedPrior::of_classes) each class has a mean and a scale of its own, and the condition of a call, one-hot
/// `[N, Y]`, says which class an image is of.
///
/// Variables: `mean` and `log_std` `[1, C, H, W]`, or `[Y, C, H, W]` with classes, 0 at the start.
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
    by_class: bool,
    placement: Placement,
}

impl LearnedPrior {
    /// A prior for latents of shape `chw`, standard normal at the start.
    ///
    /// # Errors
    /// What libtorch reports when it cannot make the parameters.
    pub fn new(vs: &nn::Path, chw: [i64; 3]) -> Result<Self> {
        Self::build(vs, chw, None)
    }

    /// A prior for each of `classes` classes, standard normal at the start.
    ///
    /// # Errors
    /// [`Error::Config`] for fewer than two classes.
    pub fn of_classes(vs: &nn::Path, chw: [i64; 3], classes: i64) -> Result<Self> {
        if classes < 2 {
            return Err(Error::config(format!(
                "a prior of classes needs two or more of them, got {classes}"
            )));
        }
        Self::build(vs, chw, Some(classes))
    }

    fn build(vs: &nn::Path, chw: [i64; 3], classes: Option<i64>) -> Result<Self> {
        let size = [classes.unwrap_or(1), chw[0], chw[1], chw[2]];
        Ok(Self {
            chw,
            mean: vs.f_var("mean", &size, Init::Const(0.0))?,
            log_std: vs.f_var("log_std", &size, Init::Const(0.0))?,
            by_class: classes.is_some(),
            placement: Placement::in_path(vs),
        })
    }

    /// Number of images, and the mean and the logarithm of the scale for each of them or for all.
    fn parameters(&self, x: &Tensor, cx: Cx<'_>) -> Result<(i64, Tensor, Tensor)> {
        let n = self.placement.check_image("learned_prior", self.chw, x)?;
        if !self.by_class {
            return Ok((n, self.mean.shallow_clone(), self.log_std.shallow_clone()));
        }
        self.placement
            .check_condition("learned_prior", n, cx.condition)?;
        Ok((
            n,
            of_class(&self.mean, cx.condition)?,
            of_class(&self.log_std, cx.condition)?,
        ))
    }
}

impl Transform for LearnedPrior {
    fn name(&self) -> &'static str {
        "learned_prior"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let (n, mean, log_std) = self.parameters(x, cx)?;
        let log_scale = log_std.f_neg()?;
        Ok(Mapped {
            value: x.f_sub(&mean)?.f_mul(&log_scale.f_exp()?)?,
            log_det: sum_per_sample(&log_scale)?.f_expand([n], false)?,
        })
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let (n, mean, log_std) = self.parameters(z, cx)?;
        Ok(Mapped {
            value: mean.f_addcmul(z, &log_std.f_exp()?)?,
            log_det: sum_per_sample(&log_std)?.f_expand([n], false)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_image("learned_prior", self.chw, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        let text = include_str!("learned_prior.torchscript.py");
        match self.by_class {
            false => Ok(Script::new("LearnedPrior", text)),
            true => Script::new("ClassPrior", text).with_class(&[
                ("self.mean", "of_class(self.mean, c)", 2),
                ("self.log_std", "of_class(self.log_std, c)", 3),
            ]),
        }
    }
}
