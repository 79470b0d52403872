//! Averages of the parameters over the last steps.

use super::Adam;
use crate::ffi::optim::lerp_all;
use crate::Result;
use tch::Tensor;

/// What their keys in a checkpoint begin with.
pub(super) const AVERAGE: &str = "ema.";

/// An exponential moving average of every parameter of an optimiser, counted from 1 at its first step:
///
/// ```text
/// a <- a + max(1 - decay, 9 / (10 + t)) (p - a)
/// ```
///
/// The second weight lets the first parameters, which were drawn at random, be forgotten early; with a decay of 0.999 it
/// rules up to step 8990. A step that is [skipped](super::Learner::queue) changes nothing.
///
/// Source: Polyak and Juditsky, *Acceleration of Stochastic Approximation by Averaging*, 1992,
/// <https://doi.org/10.1137/0330046>; the weight of the first steps is that of TensorFlow's
/// `ExponentialMovingAverage(decay, num_updates)`, `decay = min(decay, (1 + t) / (10 + t))`.
#[derive(Debug)]
pub struct Averages {
    decay: f64,
    names: Vec<String>,
    averages: Vec<Tensor>,
}

impl Averages {
    /// Copies of what the parameters of `adam` are now.
    ///
    /// # Errors
    /// Not enough memory on the device.
    pub fn new(adam: &Adam, decay: f64) -> Result<Self> {
        let params = adam.params().iter();
        let copies = params.map(|param| Ok(param.f_detach_copy()?));
        Ok(Self {
            decay,
            names: adam.names().to_vec(),
            averages: copies.collect::<Result<_>>()?,
        })
    }

    /// Begins again with what the parameters are now.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn restart(&mut self, adam: &Adam) -> Result<()> {
        *self = Self::new(adam, self.decay)?;
        Ok(())
    }

    /// The part of a new parameter in the average, after the step that `adam` has just done; nothing where the 0-d tensor
    /// `skip` is 1.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn update(&self, adam: &Adam, skip: &Tensor) -> Result<()> {
        let _guard = tch::no_grad_guard();
        // a few numbers on the device: a GPU is not waited for
        let early = adam.count().f_add_scalar(10.0)?.f_reciprocal()?;
        let weight = early.f_mul_scalar(9.0)?.f_clamp_min(1.0 - self.decay)?;
        let taken = skip.f_neg()?.f_add_scalar(1.0)?;
        lerp_all(&self.averages, adam.params(), &weight.f_mul(&taken)?)
    }

    /// What `f` returns while the parameters of `adam` are their averages.
    ///
    /// # Errors
    /// What `f` and libtorch report; the parameters are themselves again.
    pub fn instead<R>(&self, adam: &Adam, f: impl FnOnce() -> Result<R>) -> Result<R> {
        self.exchange(adam)?;
        let result = f();
        self.exchange(adam)?;
        result
    }

    /// Averages and parameters change places, to the bit; a derived value notices.
    fn exchange(&self, adam: &Adam) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (param, average) in adam.params().iter().zip(&self.averages) {
            let (mut param, mut average) = (param.shallow_clone(), average.shallow_clone());
            let kept = param.f_detach_copy()?;
            param.f_copy_(&average)?;
            average.f_copy_(&kept)?;
        }
        Ok(())
    }

    /// Names of the parameters and their averages, which share their storage with these.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let named = self.names.iter().zip(&self.averages);
        named
            .map(|(name, average)| (name.clone(), average.shallow_clone()))
            .collect()
    }
}
