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
//! With the depth gone, that single stage is what is left: the hidden channels of a coupling are many times the image. So a
//! large batch goes through in parts, one after the other, and their gradients add up ([`PART_ELEMENTS`]): memory does not
//! grow with the batch either, but for the batch itself.
//!
//! Rebuilding is exact up to rounding, which grows with the depth as it does in sampling. Source of the idea: A. Gomez et
//! al., "The Reversible Residual Network", 2017, <https://arxiv.org/abs/1707.04585>.

use super::{MultiScale, Stage, Staged};
use crate::distributions::standard_normal_log_prob;
use crate::flows::{AuxiliaryLosses, Cx, LogDets};
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

/// Elements of the images that go through the flow at a time: so few that what a coupling with 512 hidden channels needs
/// for a moment stays below a gigabyte.
pub const PART_ELEMENTS: usize = 1 << 21;

/// The mean of `-log p(x)`, the auxiliary losses, and their gradients with respect to `params`, the
/// activations rebuilt from the latents. Batches of more than `part_elements` numbers go through in parts of equal size,
/// of which [`PART_ELEMENTS`] is a good one.
///
/// Auxiliary losses count where [`cx.training`](Cx::training) is there; their sum is in the result, since their graph is
/// gone. The condition is data: no gradients with respect to it.
///
/// # Shapes
/// As [`MultiScale::log_prob`].
///
/// # Errors
/// As [`MultiScale::log_prob`], and what the layers' inverses report; an inverse that iterates may not converge.
pub fn gradients_by_inversion(
    flow: &MultiScale,
    x: &Tensor,
    cx: Cx<'_>,
    part_elements: usize,
    params: &[Tensor],
) -> Result<Rebuilt> {
    flow.check_images("gradients_by_inversion", x, cx.condition)?;
    if let Some(noise) = cx.noise.filter(|noise| noise.size() != x.size()) {
        let why = format!(
            "must have the shape of the images, {:?}, got {:?}",
            x.size(),
            noise.size()
        );
        return Err(Error::argument("gradients_by_inversion", "noise", why));
    }
    let images = x.size()[0].max(1);
    let mut sums = Sums {
        images,
        nll: Tensor::f_zeros([], (x.kind(), x.device()))?,
        extra: None,
        grads: params.iter().map(|_| Tensor::new()).collect(),
    };
    let parts = x.numel().div_ceil(part_elements.max(1)).max(1) as i64;
    let xs = x.f_chunk(parts, 0)?;
    let noises = chunks(cx.noise, parts)?;
    let conditions = chunks(cx.condition, parts)?;
    for (index, x) in xs.iter().enumerate() {
        let part = Part {
            noise: noises.get(index),
            condition: conditions.get(index),
            training: cx.training.is_some(),
            share: x.size()[0] as f64 / images as f64,
        };
        sums.add_part(flow.stages(), x, part, params)?;
    }
    Ok(Rebuilt {
        nll: sums.nll,
        extra: sums.extra,
        grads: sums.grads,
    })
}

/// The parts of a tensor that may be there; their gradients end here.
fn chunks(tensor: Option<&Tensor>, parts: i64) -> Result<Vec<Tensor>> {
    Ok(match tensor {
        Some(tensor) => tensor.f_detach()?.f_chunk(parts, 0)?,
        None => Vec::new(),
    })
}

/// What the stages are told about the part of the batch that goes through them.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    noise: Option<&'a Tensor>,
    condition: Option<&'a Tensor>,
    training: bool,
    /// Its images as a part of those of the batch.
    share: f64,
}

impl<'a> Part<'a> {
    /// Without a place for auxiliary losses.
    fn plain(self) -> Cx<'a> {
        Cx {
            noise: self.noise,
            condition: self.condition,
            ..Cx::default()
        }
    }

    fn cx(self, auxiliary: &'a AuxiliaryLosses) -> Cx<'a> {
        Cx {
            training: self.training.then_some(auxiliary),
            ..self.plain()
        }
    }
}

/// What comes before the first stage with parameters: data, not activations.
struct Exact {
    value: Tensor,
    /// `[N]`, the log-dets so far.
    log_prob: Tensor,
}

/// The first stage whose output depends on parameters, and what the stages before it make of the images.
fn first_trainable(stages: &[Stage], x: &Tensor, cx: Cx<'_>) -> Result<(usize, Exact)> {
    let mut value = x.shallow_clone();
    let mut log_dets = LogDets::default();
    for (index, stage) in stages.iter().enumerate() {
        let staged = stage.forward(&value, cx)?;
        if staged.kept.requires_grad() || staged.latent.is_some() {
            let log_prob = log_dets.sum(x)?;
            return Ok((index, Exact { value, log_prob }));
        }
        if let Some(log_det) = staged.log_det {
            log_dets.push(log_det);
        }
        value = staged.kept;
    }
    Err(Error::config("the model has no trainable parameters"))
}

/// What adds up over the stages and the parts of the batch.
struct Sums {
    /// Those of the whole batch.
    images: i64,
    nll: Tensor,
    extra: Option<Tensor>,
    grads: Vec<Tensor>,
}

impl Sums {
    /// The mean over the batch of what is known of some of its images, `[n]`.
    fn mean(&self, part: &Tensor) -> Result<Tensor> {
        Ok(part.f_sum(None::<Kind>)?.f_div_scalar(self.images as f64)?)
    }

    fn add_log_prob(&mut self, mean: &Tensor) -> Result<()> {
        self.nll = self.nll.f_sub(&mean.f_detach()?)?;
        Ok(())
    }

    /// Adds loss and gradients of the images `x`.
    fn add_part(
        &mut self,
        stages: &[Stage],
        x: &Tensor,
        part: Part<'_>,
        params: &[Tensor],
    ) -> Result<()> {
        let (start, exact) = first_trainable(stages, x, part.plain())?;
        let stages = &stages[start..];
        self.add_log_prob(&self.mean(&exact.log_prob)?)?;

        // forwards: only the latents stay
        let mut kept = exact.value.shallow_clone();
        let mut leaving = Vec::with_capacity(stages.len());
        for stage in stages {
            let auxiliary = AuxiliaryLosses::default();
            let staged = tch::no_grad(|| stage.forward(&kept, part.cx(&auxiliary)))?;
            leaving.push(staged.latent);
            kept = staged.kept;
        }
        self.add_log_prob(&self.mean(&standard_normal_log_prob(&kept)?)?)?;

        // backwards: d(-mean log N(z; 0, I))/dz = z / N
        let mut grad = kept.f_div_scalar(self.images as f64)?;
        for (index, stage) in stages.iter().enumerate().rev() {
            let input = match index {
                0 => exact.value.shallow_clone(),
                _ => {
                    let latent = leaving[index].as_ref();
                    tch::no_grad(|| stage.inverse(&kept, latent, part.plain()))?.0
                }
            };
            let leaf = input.f_detach()?.f_set_requires_grad(true)?;
            grad = self.differentiate(stage, &leaf, &grad, part, params)?;
            leaving.truncate(index);
            kept = input;
        }
        Ok(())
    }

    /// Runs one stage on `leaf`, adds what it contributes, and returns the gradient of the loss with respect to `leaf`.
    fn differentiate(
        &mut self,
        stage: &Stage,
        leaf: &Tensor,
        grad: &Tensor,
        part: Part<'_>,
        params: &[Tensor],
    ) -> Result<Tensor> {
        let auxiliary = AuxiliaryLosses::default();
        let Staged {
            kept,
            latent,
            log_det,
        } = stage.forward(leaf, part.cx(&auxiliary))?;
        let mut loss = kept.f_mul(grad)?.f_sum(None::<Kind>)?;
        let mut terms: Vec<Tensor> = log_det.into_iter().collect();
        if let Some(latent) = &latent {
            terms.push(standard_normal_log_prob(latent)?);
        }
        for term in &terms {
            let mean = self.mean(term)?;
            self.add_log_prob(&mean)?;
            loss = loss.f_sub(&mean)?;
        }
        if let Some(extra) = auxiliary.total()? {
            // a mean over the images of this part
            let extra = extra.f_mul_scalar(part.share)?;
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
        for (sum, grad) in self.grads.iter_mut().zip(found) {
            if grad.defined() {
                *sum = match sum.defined() {
                    true => sum.f_add(&grad)?,
                    false => grad,
                };
            }
        }
        Ok(leaf_grad)
    }
}
