//! Gradients without stored activations: the backward pass rebuilds them by inverting the flow.
//!
//! A flow is a chain of bijections, so the input of a stage is a function of its output. The backward pass begins with
//! the latents, undoes stage after stage, runs each forwards again on what it found, and differentiates that one stage:
//!
//! ```text
//! z_{i-1} = f_i⁻¹(z_i),     g_{i-1}, dL/dθ_i = ∂/∂(z_{i-1}, θ_i) [ <g_i, f_i(z_{i-1})> - mean(log|det J_i| + log p(latents_i)) ]
//! ```
//!
//! What is kept is one value, its gradient, and the graph of a single stage: memory that does not grow with the depth,
//! for one inverse and one more forward pass. Inverse-Flow's inverse is a convolution, so that costs little there; where
//! the inverse goes pixel by pixel (MaCow) or iterates (MintNet) it costs what sampling costs.
//!
//! Rebuilding is exact up to rounding, which grows with the depth as it does in sampling. Source of the idea: A. Gomez et
//! al., "The Reversible Residual Network", 2017, <https://arxiv.org/abs/1707.04585>.

use super::{Flow, StageCall, Staged};
use crate::distributions::standard_normal_log_prob;
use crate::flows::{AuxiliaryLosses, Cx};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The loss of a batch and its gradients.
#[derive(Debug)]
pub struct Rebuilt {
    /// Mean of `-log p` over the batch, nats; 0-d.
    pub nll: Tensor,
    /// Sum of the layers' auxiliary losses; 0-d.
    pub extra: Option<Tensor>,
    /// Gradient of `nll + extra` for every parameter, undefined where it took no part.
    pub grads: Vec<Tensor>,
}

/// The mean of `-log p(x)`, the auxiliary losses if `training`, and their gradients with respect to `params`, the
/// activations rebuilt from the latents.
///
/// # Shapes
/// As [`Flow::log_prob`].
///
/// # Errors
/// As [`Flow::log_prob`], and what the layers' inverses report; an inverse that iterates may not converge.
pub fn gradients_by_inversion(
    flow: &dyn Flow,
    x: &Tensor,
    noise: Option<&Tensor>,
    training: bool,
    params: &[Tensor],
) -> Result<Rebuilt> {
    let stages = flow.stages();
    let (start, exact) = first_trainable(&stages, x, noise)?;
    let mut sums = Sums {
        log_prob: exact.log_prob,
        extra: None,
        grads: params.iter().map(|_| Tensor::new()).collect(),
    };

    // forwards: only the latents stay
    let mut kept = exact.value.shallow_clone();
    let mut leaving = Vec::with_capacity(stages.len() - start);
    for stage in &stages[start..] {
        let auxiliary = AuxiliaryLosses::default();
        let cx = Cx {
            noise,
            training: training.then_some(&auxiliary),
        };
        let staged = tch::no_grad(|| (stage.run)(&kept, cx))?;
        leaving.push(staged.latents);
        kept = staged.kept;
    }
    sums.add_log_prob(&standard_normal_log_prob(&kept)?)?;

    // backwards: d(-mean log N(z; 0, I))/dz = z / N
    let images = x.size().first().copied().unwrap_or(0).max(1);
    let mut grad = kept.f_div_scalar(images as f64)?;
    for (index, stage) in stages[start..].iter().enumerate().rev() {
        let input = match index {
            0 => exact.value.shallow_clone(),
            _ => tch::no_grad(|| (stage.invert)(&kept, &leaving[index]))?,
        };
        let leaf = input.f_detach()?.f_set_requires_grad(true)?;
        grad = sums.differentiate(stage, &leaf, &grad, params, (noise, training))?;
        leaving.truncate(index);
        kept = input;
    }
    Ok(Rebuilt {
        nll: sums.log_prob.f_mean(None::<Kind>)?.f_neg()?,
        extra: sums.extra,
        grads: sums.grads,
    })
}

/// What comes before the first stage with parameters: data, not activations.
struct Exact {
    value: Tensor,
    /// `[N]`, the log-dets so far.
    log_prob: Tensor,
}

/// The first stage whose output depends on parameters, and what the stages before it make of the images.
fn first_trainable(
    stages: &[StageCall<'_>],
    x: &Tensor,
    noise: Option<&Tensor>,
) -> Result<(usize, Exact)> {
    let mut exact = Exact {
        value: x.shallow_clone(),
        log_prob: crate::flows::zero_log_det(x),
    };
    for (index, stage) in stages.iter().enumerate() {
        let cx = Cx {
            noise,
            ..Cx::default()
        };
        let staged = (stage.run)(&exact.value, cx)?;
        if staged.kept.requires_grad() || !staged.latents.is_empty() {
            return Ok((index, exact));
        }
        if let Some(log_det) = &staged.log_det {
            exact.log_prob = exact.log_prob.f_add(log_det)?;
        }
        exact.value = staged.kept;
    }
    Err(Error::config("the model has no trainable parameters"))
}

/// What adds up over the stages.
struct Sums {
    log_prob: Tensor,
    extra: Option<Tensor>,
    grads: Vec<Tensor>,
}

impl Sums {
    fn add_log_prob(&mut self, part: &Tensor) -> Result<()> {
        self.log_prob = self.log_prob.f_add(&part.f_detach()?)?;
        Ok(())
    }

    /// Runs one stage on `leaf`, adds what it contributes, and returns the gradient of the loss with respect to `leaf`.
    fn differentiate(
        &mut self,
        stage: &StageCall<'_>,
        leaf: &Tensor,
        grad: &Tensor,
        params: &[Tensor],
        (noise, training): (Option<&Tensor>, bool),
    ) -> Result<Tensor> {
        let auxiliary = AuxiliaryLosses::default();
        let cx = Cx {
            noise,
            training: training.then_some(&auxiliary),
        };
        let Staged {
            kept,
            latents,
            log_det,
        } = (stage.run)(leaf, cx)?;
        let mut loss = kept.f_mul(grad)?.f_sum(None::<Kind>)?;
        let mut parts: Vec<Tensor> = log_det.into_iter().collect();
        for latent in &latents {
            parts.push(standard_normal_log_prob(latent)?);
        }
        for part in &parts {
            self.add_log_prob(part)?;
            loss = loss.f_sub(&part.f_mean(None::<Kind>)?)?;
        }
        if let Some(extra) = auxiliary.total()? {
            loss = loss.f_add(&extra)?;
            let extra = extra.f_detach()?;
            self.extra = Some(match self.extra.take() {
                Some(sum) => sum.f_add(&extra)?,
                None => extra,
            });
        }
        let mut wanted = vec![leaf];
        wanted.extend(params);
        let mut found = Tensor::f_run_backward(&[loss], &wanted, false, false)?.into_iter();
        let leaf_grad = found
            .next()
            .ok_or_else(|| Error::Torch("a stage depends on its input".into()))?;
        for (sum, part) in self.grads.iter_mut().zip(found) {
            if part.defined() {
                *sum = match sum.defined() {
                    true => sum.f_add(&part)?,
                    false => part,
                };
            }
        }
        Ok(leaf_grad)
    }
}
