//! One optimisation step: loss, gradient, clipping, and what to do when they are not finite.

use super::{Adam, TrainConfig};
use crate::cuda::numbers;
use crate::ffi::optim::grad_norm;
use crate::flows::{AuxiliaryLosses, Cx};
use crate::models::{gradients_by_inversion, MultiScale, PART_ELEMENTS};
use crate::{Error, Result};
use tch::{nn::VarStore, Kind, Tensor};

/// Skipped steps in a row after which training stops.
pub const MAX_SKIPPED_IN_ROW: u64 = 10;

/// A model, its variables and their optimiser.
#[derive(Debug)]
pub struct Learner {
    /// The density model.
    pub model: MultiScale,
    /// Its parameters and buffers.
    pub vs: VarStore,
    /// The optimiser of its parameters.
    pub adam: Adam,
    clip_value: Option<f64>,
    clip_norm: Option<f64>,
    rebuild_activations: bool,
    clamp_weights: Option<f64>,
    skipped: u64,
    skipped_in_row: u64,
}

/// What one step measured before it changed the parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Mean negative log-likelihood of the batch, nats per image, without auxiliary losses. Layers that leave their
    /// log-det out of training ([`Cx::training`]) leave it out here.
    pub nll: f64,
    /// Euclidean norm of the gradient of all parameters, before clipping.
    pub grad_norm: f64,
    /// The loss or the gradient was not finite, and nothing was changed.
    pub skipped: bool,
}

impl Learner {
    /// Puts an optimiser beside an initialised model whose variables are in `vs`.
    ///
    /// # Errors
    /// A model without trainable parameters, or not enough memory for the optimiser.
    pub fn new(model: MultiScale, vs: VarStore, config: &TrainConfig) -> Result<Self> {
        let adam = Adam::new(&vs, config)?;
        if adam.params().is_empty() {
            return Err(Error::config("the model has no trainable parameters"));
        }
        Ok(Self {
            model,
            vs,
            adam,
            clip_value: config.clip_value,
            clip_norm: config.clip_norm,
            rebuild_activations: config.rebuild_activations,
            clamp_weights: config.clamp_weights,
            skipped: 0,
            skipped_in_row: 0,
        })
    }

    /// Whether the following steps keep their activations or rebuild them.
    pub fn rebuild_activations(&mut self, rebuild: bool) {
        self.rebuild_activations = rebuild;
    }

    /// Steps skipped so far, and how many of them are the latest ones in a row.
    pub fn skipped(&self) -> (u64, u64) {
        (self.skipped, self.skipped_in_row)
    }

    /// Goes on counting where a checkpoint stopped.
    pub fn set_skipped(&mut self, (total, in_row): (u64, u64)) {
        (self.skipped, self.skipped_in_row) = (total, in_row);
    }

    /// One step of Adam on the mean of `-log p` over the images `x: [N, C, H, W]` with dequantisation `noise`, plus
    /// the layers' auxiliary losses.
    ///
    /// The gradient is divided by `max(1, norm / clip_norm)`. A step whose loss or gradient norm is not finite
    /// changes nothing and is counted.
    ///
    /// # Errors
    /// [`Error::Diverged`] after [`MAX_SKIPPED_IN_ROW`] skipped steps in a row; what the model reports.
    pub fn step(&mut self, x: &Tensor, noise: &Tensor, lr: f64) -> Result<Step> {
        let (nll, grads) = self.gradients(x, noise)?;
        let grads = self.entries(grads)?;
        let norm = grad_norm(&grads)?;
        let step = self.measured(&nll, &norm)?;
        if step.skipped {
            self.skipped += 1;
            self.skipped_in_row += 1;
            if self.skipped_in_row >= MAX_SKIPPED_IN_ROW {
                return Err(self.diverged(x, noise, &grads)?);
            }
            return Ok(step);
        }
        self.skipped_in_row = 0;
        let scale = match self.clip_norm {
            Some(limit) => Some((norm / limit).f_clamp_min(1.0)?),
            None => None,
        };
        self.adam.step(&grads, lr, scale.as_ref())?;
        if let Some(limit) = self.clamp_weights {
            self.clamp(limit)?;
        }
        Ok(step)
    }

    fn clamp(&self, limit: f64) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for param in self.adam.params() {
            let _ = param.shallow_clone().f_clamp_(-limit, limit)?;
        }
        Ok(())
    }

    /// The mean of `-log p`, and the gradients of the whole loss in the order of the optimiser's parameters, undefined
    /// where a parameter takes no part. Activations are kept or rebuilt as [chosen](Self::rebuild_activations).
    ///
    /// # Errors
    /// What the model reports.
    pub fn gradients(&self, x: &Tensor, noise: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        let auxiliary = AuxiliaryLosses::default();
        let cx = Cx {
            noise: Some(noise),
            training: Some(&auxiliary),
            ..Cx::default()
        };
        if self.rebuild_activations {
            let (model, params) = (&self.model, self.adam.params());
            let rebuilt = gradients_by_inversion(model, x, cx, PART_ELEMENTS, params)?;
            return Ok((rebuilt.nll, rebuilt.grads));
        }
        let nll = -self.model.log_prob(x, cx)?.f_mean(None::<Kind>)?;
        let loss = match auxiliary.total()? {
            Some(extra) => nll.f_add(&extra)?,
            None => nll.shallow_clone(),
        };
        // the engine returns them instead of summing them into the variables, so that none outlives its step
        let grads = Tensor::f_run_backward(&[loss], self.adam.params(), false, false)?;
        Ok((nll, grads))
    }

    /// Every parameter's gradient, its entries clipped if asked for.
    fn entries(&self, grads: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let params = self.adam.params();
        let mut used = Vec::with_capacity(grads.len());
        for (grad, param) in grads.into_iter().zip(params) {
            // a parameter that took no part in the loss comes back undefined
            used.push(match self.clip_value {
                _ if !grad.defined() => param.detach().f_zeros_like()?,
                Some(limit) => grad.f_clamp(-limit, limit)?,
                None => grad,
            });
        }
        Ok(used)
    }

    /// Likelihood and norm in one transfer from the device, the only wait of a step; it also tells whether every layer
    /// had an inverse.
    fn measured(&self, nll: &Tensor, norm: &Tensor) -> Result<Step> {
        let values = numbers(&[nll, norm]);
        let values = values.map_err(|err| self.model.locate(err, Cx::default()))?;
        let (nll, grad_norm) = (values[0], values[1]);
        Ok(Step {
            nll,
            grad_norm,
            skipped: !(nll.is_finite() && grad_norm.is_finite()),
        })
    }

    /// The error that ends a run, with where the first number that is not finite comes from.
    fn diverged(&self, x: &Tensor, noise: &Tensor, grads: &[Tensor]) -> Result<Error> {
        let cx = Cx {
            noise: Some(noise),
            ..Cx::default()
        };
        let layer = tch::no_grad(|| self.model.first_non_finite(x, cx))?;
        let place = match layer {
            Some(layer) => format!("the first bad values are in `{layer}`"),
            None => match self.first_bad_gradient(grads) {
                Some(name) => format!("the first bad gradient is that of `{name}`"),
                None => "the gradient is finite, but its norm is too large for its kind".into(),
            },
        };
        Ok(Error::Diverged(format!(
            "loss or gradient not finite in {MAX_SKIPPED_IN_ROW} steps in a row; {place}.\nResume or start again with a lower --lr, a longer --warmup-epochs or a smaller --clip-norm"
        )))
    }

    fn first_bad_gradient(&self, grads: &[Tensor]) -> Option<&str> {
        let finite = |grad: &Tensor| grad.isfinite().all().int64_value(&[]) != 0;
        let at = grads.iter().position(|grad| !finite(grad))?;
        self.adam.names().get(at).map(String::as_str)
    }
}
