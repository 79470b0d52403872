//! What steps have measured, and whether a step is taken. On the CPU this is known at once. On a GPU a kernel decides
//! (`kernels/verdict.cu`, the same rules), and the host reads the totals of many steps at a time.

use crate::cuda::numbers;
use crate::cuda::verdict::{verdict, VerdictParams, TOTALS};
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Skipped steps in a row after which training stops.
pub const MAX_SKIPPED_IN_ROW: u64 = 10;

/// Of the steps since the last reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Steps.
    pub steps: u64,
    /// Those of them that were taken; the others were skipped, because loss or gradient were not finite.
    pub taken: u64,
    /// Sum of the negative log-likelihoods of the steps that were taken, nats per image.
    pub nll: f64,
    /// Sum of the norms of their gradients, before clipping.
    pub grad_norm: f64,
    /// Negative log-likelihood of the last step, taken or not.
    pub last_nll: f64,
    /// Norm of its gradient.
    pub last_grad_norm: f64,
    /// Steps skipped one after the other, up to the last one.
    pub in_row: u64,
    /// The step, counted from 1, with which they became too many. Nothing was changed by it, nor after it.
    pub stopped_at: Option<u64>,
}

impl Totals {
    /// Before the first step, after `in_row` skipped ones.
    fn after(in_row: u64) -> Self {
        Self {
            in_row,
            ..Self::default()
        }
    }

    /// Adds a step with this loss and this norm; whether it is to be taken.
    fn add(&mut self, nll: f64, grad_norm: f64) -> bool {
        self.steps += 1;
        if self.stopped_at.is_some() {
            return false;
        }
        (self.last_nll, self.last_grad_norm) = (nll, grad_norm);
        let taken = nll.is_finite() && grad_norm.is_finite();
        if taken {
            self.in_row = 0;
            self.taken += 1;
            self.nll += nll;
            self.grad_norm += grad_norm;
        } else {
            self.in_row += 1;
            self.stopped_at = (self.in_row >= MAX_SKIPPED_IN_ROW).then_some(self.steps);
        }
        taken
    }

    /// Twin: `VerdictTotals` in `kernels/verdict.cuh`.
    fn from_gpu(numbers: &[f64]) -> Result<Self> {
        let &[steps, taken, nll, grad_norm, last_nll, last_grad_norm, in_row, stopped_at] = numbers
        else {
            let count = numbers.len();
            return Err(Error::Cuda(format!(
                "expected {TOTALS} totals, got {count}"
            )));
        };
        Ok(Self {
            steps: steps as u64,
            taken: taken as u64,
            nll,
            grad_norm,
            last_nll,
            last_grad_norm,
            in_row: in_row as u64,
            stopped_at: (stopped_at > 0.0).then_some(stopped_at as u64),
        })
    }
}

/// What the optimiser is told about a step: 0-d float32 tensors on its device.
#[derive(Debug)]
pub(super) struct Verdict {
    /// 1 where it must not be taken, else 0.
    pub skip: Tensor,
    /// What its gradient is divided by, if there is a limit for the norm.
    pub scale: Option<Tensor>,
}

/// Decides about steps and keeps their totals.
#[derive(Debug)]
pub(super) struct Judge {
    clip_norm: Option<f64>,
    /// On the CPU; on a GPU before the first step since the last reading.
    totals: Totals,
    /// On a GPU, once there is a step.
    on_gpu: Option<Tensor>,
    /// Steps since the last reading.
    unread: u64,
}

impl Judge {
    /// With a limit for the gradient's norm.
    pub(super) fn new(clip_norm: Option<f64>) -> Self {
        Self {
            clip_norm,
            totals: Totals::default(),
            on_gpu: None,
            unread: 0,
        }
    }

    /// So many steps were skipped just before the next one.
    pub(super) fn set_in_row(&mut self, in_row: u64) {
        self.totals = Totals::after(in_row);
        self.unread = 0;
    }

    /// Decides about a step with this loss and this norm, without waiting for a GPU.
    ///
    /// # Errors
    /// They are not float32 numbers of one device.
    pub(super) fn decide(&mut self, nll: &Tensor, norm: &Tensor) -> Result<Verdict> {
        let starts = self.unread == 0;
        let clip = self.clip_norm.map(|limit| limit as f32);
        let (skip, scale) = if let device @ Device::Cuda(_) = nll.device() {
            let totals = match self.on_gpu.take().filter(|kept| kept.device() == device) {
                Some(kept) => kept,
                None => Tensor::f_empty([TOTALS as i64], (Kind::Double, device))?,
            };
            let params = VerdictParams {
                in_row: self.totals.in_row as f64,
                most_in_row: MAX_SKIPPED_IN_ROW as f64,
                clip_norm: clip.unwrap_or(0.0),
                starts: i32::from(starts),
                ..VerdictParams::default()
            };
            let [skip, scale] = verdict([nll, norm, &totals], params)?;
            self.on_gpu = Some(totals);
            (skip, scale)
        } else {
            let &[nll, norm] = &numbers(&[nll, norm])?[..] else {
                return Err(Error::config("loss and norm must be a number each"));
            };
            let taken = self.totals.add(nll, norm);
            let scale = clip
                .filter(|_| taken)
                .map_or(1.0, |limit| norm as f32 / limit);
            let skip = if taken { 0f32 } else { 1.0 };
            (Tensor::from(skip), Tensor::from(scale.max(1.0)))
        };
        self.unread += 1;
        Ok(Verdict {
            skip,
            scale: clip.map(|_| scale),
        })
    }

    /// The totals of the steps since the last reading; `None` if there was none. On a GPU this waits for them, and tells
    /// whether every layer had an inverse.
    ///
    /// # Errors
    /// [`Error::Singular`]; what the device reports. The steps are forgotten then.
    pub(super) fn read(&mut self) -> Result<Option<Totals>> {
        if std::mem::take(&mut self.unread) == 0 {
            return Ok(None);
        }
        let before = self.totals;
        let read = match &self.on_gpu {
            Some(totals) => Totals::from_gpu(&numbers(&[totals])?)?,
            None => before,
        };
        self.totals = Totals::after(read.in_row);
        Ok(Some(read))
    }
}
