//! A step that several processes take together: each computes on its part of the batch, one sum over all of them gives
//! the gradient of the whole batch.

use super::wishes::Wishes;
use super::{Given, Learner, Team};
use crate::Result;
use tch::{Kind, Tensor};

/// What a process brings to a step.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Its images, `[n, C, H, W]`; there may be none.
    pub x: &'a Tensor,
    /// What goes with them.
    pub given: Given<'a>,
    /// They as a part of the images of the batch; the shares of all processes add up to 1.
    pub share: f64,
    /// What it wants after this step.
    pub wishes: Wishes,
}

/// What all processes know after the sum, with the same bits in each.
#[derive(Debug)]
pub struct Whole {
    /// Mean of `-log p` over the batch; 0-d.
    pub nll: Tensor,
    /// The gradients, in the order of the optimiser's parameters.
    pub grads: Vec<Tensor>,
    /// What any of them wants; see [`Wishes::read`].
    pub(super) wishes: Tensor,
}

impl Learner {
    /// The gradients of the whole batch, by one sum: `[gradients * share, nll * share, wishes]`. Gradients and likelihood
    /// are means over images, so their means weighted by the shares are those of the batch.
    ///
    /// # Errors
    /// What the model reports, or the end of another process.
    pub fn whole_gradients(&self, team: &Team, own: Own<'_>) -> Result<Whole> {
        let params = self.adam.params();
        let (nll, grads) = match own.x.size()[0] {
            // a likelihood of no images is no number
            0 => (
                Tensor::f_zeros([], (Kind::Float, own.x.device()))?,
                zeros(params)?,
            ),
            _ => self.gradients(own.x, own.given)?,
        };
        let mut flat = Vec::with_capacity(params.len() + 2);
        for (grad, param) in grads.iter().zip(params) {
            // a parameter that took no part in the loss comes back undefined
            flat.push(match grad.defined() {
                true => grad.f_reshape([-1])?,
                false => param.detach().f_zeros_like()?.f_reshape([-1])?,
            });
        }
        flat.push(nll.f_detach()?.f_reshape([1])?);
        flat.push(own.wishes.to_tensor(own.x.device())?);
        let flat = Tensor::f_cat(&flat, 0)?;
        let numbers = flat.size()[0] - Wishes::COUNT;
        let _ = flat.f_narrow(0, 0, numbers)?.f_mul_scalar_(own.share)?;
        team.sum(&flat)?;
        let mut at = 0;
        let mut grads = Vec::with_capacity(params.len());
        for param in params {
            let count = param.numel() as i64;
            grads.push(
                flat.f_narrow(0, at, count)?
                    .f_view(param.size().as_slice())?,
            );
            at += count;
        }
        Ok(Whole {
            nll: flat.f_select(0, at)?,
            grads,
            wishes: flat.f_narrow(0, numbers, Wishes::COUNT)?,
        })
    }

    /// [`queue`](Self::queue) for a step of several processes. Returns what any of them wants, to be
    /// [read](Wishes::read) where the step is.
    ///
    /// # Errors
    /// As [`whole_gradients`](Self::whole_gradients).
    pub(super) fn queue_whole(&mut self, team: &Team, own: Own<'_>, lr: f64) -> Result<Tensor> {
        let whole = self.whole_gradients(team, own)?;
        self.update(&whole.nll, whole.grads, lr)?;
        Ok(whole.wishes)
    }

    /// [`step`](Self::step) for one of several processes. Returns what any of them wants.
    ///
    /// # Errors
    /// As [`whole_gradients`](Self::whole_gradients).
    #[cfg(feature = "program")]
    pub(crate) fn step_whole(&mut self, team: &Team, own: Own<'_>, lr: f64) -> Result<Wishes> {
        let wishes = self.queue_whole(team, own, lr)?;
        self.read()?;
        Wishes::read(&wishes)
    }
}

fn zeros(params: &[Tensor]) -> Result<Vec<Tensor>> {
    let zeros = params.iter().map(|param| param.detach().f_zeros_like());
    Ok(zeros.collect::<std::result::Result<_, _>>()?)
}
