//! One optimisation step: loss, gradient, clipping, and what to do when they are not finite.

use super::totals::{Judge, Totals, MAX_SKIPPED_IN_ROW};
use super::{Adam, Averages, TrainConfig};
use crate::ffi::optim::{clamped, grad_norm};
use crate::flows::{AuxiliaryLosses, Cx};
use crate::models::{gradients_by_inversion, MultiScale, PART_ELEMENTS};
use crate::{Error, Result};
use tch::{nn::VarStore, Kind, Tensor};

/// A model, its variables and their optimiser.
#[derive(Debug)]
pub struct Learner {
    /// The density model.
    pub model: MultiScale,
    /// Its parameters and buffers.
    pub vs: VarStore,
    /// The optimiser of its parameters.
    pub adam: Adam,
    /// Averages of the parameters, with `train.ema`.
    pub averages: Option<Averages>,
    clip_value: Option<f64>,
    rebuild_activations: bool,
    accumulate: i64,
    clamp_weights: Option<f64>,
    judge: Judge,
    skipped: u64,
    skipped_in_row: u64,
}

/// What a step is told about its images besides their pixels.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Their dequantisation noise.
    pub noise: &'a Tensor,
    /// Which classes they are of, for a [conditional](MultiScale::condition) model.
    pub condition: Option<&'a Tensor>,
}

/// The noise alone.
impl<'a> From<&'a Tensor> for Given<'a> {
    fn from(noise: &'a Tensor) -> Self {
        let condition = None;
        Self { noise, condition }
    }
}

impl<'a> Given<'a> {
    fn cx(self) -> Cx<'a> {
        Cx {
            noise: Some(self.noise),
            condition: self.condition,
            ..Cx::default()
        }
    }
}

/// What one step measured before it changed the parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Mean negative log-likelihood of the batch, nats per image, without auxiliary losses. Layers that leave their
    /// log-det out of training leave it out here: [`MultiScale::trains_without_log_dets`] says whether there are any.
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
        let averages = config.ema.map(|decay| Averages::new(&adam, decay));
        Ok(Self {
            model,
            vs,
            averages: averages.transpose()?,
            adam,
            clip_value: config.clip_value,
            rebuild_activations: config.rebuild_activations,
            accumulate: config.accumulate.into(),
            clamp_weights: config.clamp_weights,
            judge: Judge::new(config.clip_norm),
            skipped: 0,
            skipped_in_row: 0,
        })
    }

    /// Whether the following steps keep their activations or rebuild them.
    pub fn rebuild_activations(&mut self, rebuild: bool) {
        self.rebuild_activations = rebuild;
    }

    /// Steps skipped up to the last [reading](Self::read), and how many of them are the latest ones in a row.
    pub fn skipped(&self) -> (u64, u64) {
        (self.skipped, self.skipped_in_row)
    }

    /// Goes on counting where a checkpoint stopped.
    pub fn set_skipped(&mut self, (total, in_row): (u64, u64)) {
        (self.skipped, self.skipped_in_row) = (total, in_row);
        self.judge.set_in_row(in_row);
    }

    /// One step, and what it measured: [`queue`](Self::queue) and [`read`](Self::read).
    ///
    /// # Errors
    /// [`Error::Diverged`] after [`MAX_SKIPPED_IN_ROW`] skipped steps in a row; what the model reports.
    pub fn step<'a>(&mut self, x: &Tensor, given: impl Into<Given<'a>>, lr: f64) -> Result<Step> {
        let given = given.into();
        self.queue(x, given, lr)?;
        let totals = self.read()?.unwrap_or_default();
        if totals.stopped_at.is_some() {
            return Err(diverged(self.first_bad(x, given)?));
        }
        Ok(Step {
            nll: totals.last_nll,
            grad_norm: totals.last_grad_norm,
            skipped: totals.taken == 0,
        })
    }

    /// One step of Adam on the mean of `-log p` over the images `x: [N, C, H, W]` with the noise that is `given`, plus the
    /// layers' auxiliary losses. On a GPU nothing waits for it.
    ///
    /// The gradient is divided by `max(1, norm / clip_norm)`. A step whose loss or gradient norm is not finite changes
    /// nothing and is counted, and so is every step after [`MAX_SKIPPED_IN_ROW`] of them in a row, up to the next reading.
    ///
    /// # Errors
    /// What the model reports.
    pub fn queue<'a>(&mut self, x: &Tensor, given: impl Into<Given<'a>>, lr: f64) -> Result<()> {
        let (nll, grads) = self.gradients(x, given)?;
        self.update(&nll, grads, lr)
    }

    /// What comes after the gradients of a step.
    pub(super) fn update(&mut self, nll: &Tensor, grads: Vec<Tensor>, lr: f64) -> Result<()> {
        let grads = self.entries(grads)?;
        let verdict = self.judge.decide(nll, &grad_norm(&grads)?)?;
        let (scale, skip) = (verdict.scale.as_ref(), Some(&verdict.skip));
        self.adam.step(&grads, lr, scale, skip)?;
        if let Some(limit) = self.clamp_weights {
            self.clamp(limit, &verdict.skip)?;
        }
        match &self.averages {
            Some(averages) => averages.update(&self.adam, &verdict.skip),
            None => Ok(()),
        }
    }

    /// What `f` makes of the model that is validated and sampled: the one with the averages of the parameters, if there are
    /// any.
    ///
    /// # Errors
    /// What `f` and libtorch report.
    pub fn with_averages<R>(&self, f: impl FnOnce(&MultiScale) -> Result<R>) -> Result<R> {
        match &self.averages {
            Some(averages) => averages.instead(&self.adam, || f(&self.model)),
            None => f(&self.model),
        }
    }

    /// What the steps since the last reading have measured; `None` if there was none. On a GPU this is what waits for it,
    /// and it also tells whether every layer had an inverse.
    ///
    /// # Errors
    /// [`Error::Singular`]; what the device reports.
    pub fn read(&mut self) -> Result<Option<Totals>> {
        let totals = self.judge.read();
        let totals = totals.map_err(|err| self.model.locate(err, Cx::default()))?;
        if let Some(totals) = &totals {
            self.skipped += match totals.stopped_at {
                Some(step) => step - totals.taken,
                None => totals.steps - totals.taken,
            };
            self.skipped_in_row = totals.in_row;
        }
        Ok(totals)
    }

    /// Sets every parameter back into `[-limit, limit]` after a step that was taken.
    fn clamp(&self, limit: f64, skip: &Tensor) -> Result<()> {
        let _guard = tch::no_grad_guard();
        // without a limit, 1 / 0, after one that was skipped
        let most = skip.f_neg()?.f_add_scalar(1.0)?.f_reciprocal()?;
        let most = most.f_mul_scalar(limit)?;
        let least = most.f_neg()?;
        for param in self.adam.params() {
            let mut param = param.shallow_clone();
            let _ = param.f_clamp_tensor_(Some(&least), Some(&most))?;
        }
        Ok(())
    }

    /// The mean of `-log p`, and the gradients of the whole loss in the order of the optimiser's parameters, undefined
    /// where a parameter takes no part. Activations are kept or rebuilt as [chosen](Self::rebuild_activations), and the images
    /// go through the model in as many parts as `train.accumulate` says.
    ///
    /// # Errors
    /// What the model reports.
    pub fn gradients<'a>(
        &self,
        x: &Tensor,
        given: impl Into<Given<'a>>,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let (given, count) = (given.into(), x.size()[0]);
        let parts = self.accumulate.clamp(1, count.max(1));
        if parts == 1 {
            return self.gradients_at_once(x, given);
        }
        let mut sum: Option<(Tensor, Vec<Tensor>)> = None;
        for part in 0..parts {
            let (start, end) = (part * count / parts, (part + 1) * count / parts);
            let of = |tensor: &Tensor| tensor.f_narrow(0, start, end - start);
            let (noise, condition) = (of(given.noise)?, given.condition.map(of).transpose()?);
            let own = Given {
                noise: &noise,
                condition: condition.as_ref(),
            };
            let (nll, grads) = self.gradients_at_once(&of(x)?, own)?;
            // means over the part, weighted by its share of the images
            let share = (end - start) as f64 / count as f64;
            let nll = nll.f_detach()?.f_mul_scalar(share)?;
            match &mut sum {
                None => {
                    let grads = grads.into_iter().map(|grad| match grad.defined() {
                        true => Ok(grad.f_mul_scalar(share)?),
                        false => Ok(grad),
                    });
                    sum = Some((nll, grads.collect::<Result<_>>()?));
                }
                Some((sum, sums)) => {
                    let _ = sum.f_add_(&nll)?;
                    for (sum, grad) in sums.iter_mut().zip(grads) {
                        match (sum.defined(), grad.defined()) {
                            (_, false) => {}
                            (true, true) => drop(sum.f_add_(&grad.f_mul_scalar(share)?)?),
                            (false, true) => *sum = grad.f_mul_scalar(share)?,
                        }
                    }
                }
            }
        }
        sum.map_or_else(|| self.gradients_at_once(x, given), Ok)
    }

    fn gradients_at_once(&self, x: &Tensor, given: Given<'_>) -> Result<(Tensor, Vec<Tensor>)> {
        let auxiliary = AuxiliaryLosses::default();
        let cx = Cx {
            training: Some(&auxiliary),
            ..given.cx()
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
            used.push(match grad.defined() {
                true => grad,
                false => param.detach().f_zeros_like()?,
            });
        }
        match self.clip_value {
            Some(limit) => clamped(&used, limit),
            None => Ok(used),
        }
    }

    /// Where the first number that is not finite comes from, for the error that ends a run; `None` if there is none.
    /// This is the batch of the last of the steps that were skipped; nothing has changed the parameters since.
    ///
    /// # Errors
    /// What the model reports.
    pub(super) fn first_bad(&self, x: &Tensor, given: Given<'_>) -> Result<Option<String>> {
        if let Some(layer) = tch::no_grad(|| self.model.first_non_finite(x, given.cx()))? {
            return Ok(Some(format!("the first bad values are in `{layer}`")));
        }
        let name = self.first_bad_gradient(x, given)?;
        Ok(name.map(|name| format!("the first bad gradient is that of `{name}`")))
    }

    fn first_bad_gradient(&self, x: &Tensor, given: Given<'_>) -> Result<Option<&str>> {
        let (_, grads) = self.gradients(x, given)?;
        for (name, grad) in self.adam.names().iter().zip(self.entries(grads)?) {
            if grad.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// The error that ends a run, with what [`Learner::first_bad`] has found.
pub(super) fn diverged(place: Option<String>) -> Error {
    let place = place
        .unwrap_or_else(|| "the gradient is finite, but its norm is too large for its kind".into());
    Error::Diverged(format!(
        "loss or gradient not finite in {MAX_SKIPPED_IN_ROW} steps in a row; {place}.\nResume or start again with a lower --lr, a longer --warmup-epochs or a smaller --clip-norm"
    ))
}
