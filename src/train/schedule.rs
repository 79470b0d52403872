//! The learning rate as a pure function of the step.

use serde::{Deserialize, Serialize};

/// How the learning rate falls once the warm-up is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum Decay {
    /// It does not fall.
    Constant,
    /// Multiplied by `factor` after every epoch that follows the warm-up.
    Exponential {
        /// In `(0, 1]`.
        factor: f64,
    },
    /// Multiplied by `factor` at every step that follows the warm-up.
    ExponentialSteps {
        /// In `(0, 1]`.
        factor: f64,
    },
    /// Half a cosine from the base rate down to 0 over `epochs` epochs (warm-up included), constant within an epoch.
    Cosine {
        /// At least 1.
        epochs: u64,
    },
    /// Half a cosine from the base rate at the end of the warm-up down to 0 at step `steps`.
    CosineSteps {
        /// At least 1; counted from the first step of the run.
        steps: u64,
    },
    /// Multiplied by `factor` after each of the named epochs (counted from 1, warm-up included).
    Milestones {
        /// In `(0, 1]`.
        factor: f64,
        /// Epochs after whose end the rate falls.
        epochs: Vec<u64>,
    },
}

impl Decay {
    /// A cosine that ends before the end of the run at `steps` steps, or `epochs` epochs, stretched to end with it; `None` if
    /// there is nothing to stretch.
    pub fn stretched(&self, steps: u64, epochs: u64) -> Option<Self> {
        match *self {
            Self::Cosine { epochs: end } if end < epochs => Some(Self::Cosine { epochs }),
            Self::CosineSteps { steps: end } if end < steps => Some(Self::CosineSteps { steps }),
            _ => None,
        }
    }
}

/// Linear warm-up, then decay:
///
/// ```text
/// lr(s) = base * (s + 1) / W                                  for s < W
/// lr(s) = base * factor^floor((s - W) / steps_per_epoch)      from there on (exponential)
/// lr(s) = base * factor^(s - W)                               (exponential by steps)
/// lr(s) = base * (1 + cos(pi e / epochs)) / 2                 (cosine, in epoch e = floor(s / steps_per_epoch))
/// lr(s) = base * (1 + cos(pi (s - W) / (steps - W))) / 2      (cosine by steps, 0 from s = steps on)
/// ```
///
/// Where `s` counts steps from 0 and `W` is the number of warm-up steps. Nothing is accumulated, so that a
/// resumed run needs no state to have the rates of one that was never stopped. Where epochs count, `s` is the place in the
/// epochs: see [`At`].
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The rate at the end of the warm-up.
    pub base: f64,
    /// Linear warm-up, `W`.
    pub warmup: Warmup,
    /// Optimiser steps in one epoch.
    pub steps_per_epoch: u64,
    /// What follows the warm-up.
    pub decay: Decay,
}

/// How long the warm-up is; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmup {
    /// So many steps.
    Steps(u64),
    /// So many epochs, fractions of one included.
    Epochs(f64),
}

/// A step, counted from 0. Both numbers are the same unless the batch size has changed in the run, and with it how many steps
/// an epoch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Steps of the run before this one.
    pub step: u64,
    /// Steps of this batch size that the run's epochs would have had before this one.
    pub in_epochs: u64,
}

impl Schedule {
    /// Learning rate of a step.
    pub fn lr(&self, at: At) -> f64 {
        let (s, warmup) = match self.warmup {
            Warmup::Steps(steps) => (at.step, steps),
            Warmup::Epochs(epochs) => {
                let steps = (epochs * self.steps_per_epoch as f64).round();
                (at.in_epochs, steps as u64)
            }
        };
        if s < warmup {
            return self.base * (s + 1) as f64 / warmup as f64;
        }
        let epoch = at.in_epochs / self.steps_per_epoch.max(1);
        let power = |factor: f64, times: u64| factor.powi(times.min(i32::MAX as u64) as i32);
        self.base
            * match &self.decay {
                Decay::Constant => 1.0,
                Decay::Exponential { factor } => {
                    let after = at.in_epochs.saturating_sub(warmup);
                    power(*factor, after / self.steps_per_epoch.max(1))
                }
                Decay::ExponentialSteps { factor } => {
                    power(*factor, at.step.saturating_sub(warmup))
                }
                Decay::Cosine { epochs } => half_cosine(epoch, *epochs),
                Decay::CosineSteps { steps } => {
                    half_cosine(at.step.saturating_sub(warmup), steps.saturating_sub(warmup))
                }
                Decay::Milestones { factor, epochs } => {
                    let passed = epochs.iter().filter(|&&end| end <= epoch).count();
                    power(*factor, passed as u64)
                }
            }
    }
}

/// From 1 at 0 down to 0 at `end`, and 0 from there on.
fn half_cosine(at: u64, end: u64) -> f64 {
    let end = end.max(1);
    let done = at.min(end) as f64 / end as f64;
    0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay) -> Schedule {
        Schedule {
            base: 8e-3,
            warmup: Warmup::Steps(4),
            steps_per_epoch: 3,
            decay,
        }
    }

    fn lr(schedule: &Schedule, step: u64) -> f64 {
        let in_epochs = step;
        schedule.lr(At { step, in_epochs })
    }

    fn rates(schedule: &Schedule, steps: std::ops::Range<u64>) -> Vec<f64> {
        steps.map(|step| lr(schedule, step)).collect()
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (a, b) in got.iter().zip(expected) {
            assert!((a - b).abs() < 1e-15, "{got:?} is not {expected:?}");
        }
    }

    #[test]
    fn warm_up_is_linear_and_ends_at_the_base_rate() {
        let rates = rates(&schedule(Decay::Constant), 0..6);
        assert_close(&rates, &[2e-3, 4e-3, 6e-3, 8e-3, 8e-3, 8e-3]);
    }

    #[test]
    fn exponential_decay_starts_one_epoch_after_the_warm_up() {
        let rates = rates(&schedule(Decay::Exponential { factor: 0.5 }), 3..11);
        let (a, b, c) = (8e-3, 4e-3, 2e-3);
        assert_close(&rates, &[a, a, a, a, b, b, b, c]);
    }

    #[test]
    fn exponential_decay_by_steps_starts_at_the_base_rate() {
        let rates = rates(&schedule(Decay::ExponentialSteps { factor: 0.5 }), 3..7);
        assert_close(&rates, &[8e-3, 8e-3, 4e-3, 2e-3]);
    }

    #[test]
    fn a_cosine_falls_from_epoch_to_epoch_and_ends_at_zero() {
        let schedule = Schedule {
            warmup: Warmup::Steps(0),
            ..schedule(Decay::Cosine { epochs: 3 })
        };
        let (a, b, c) = (8e-3, 6e-3, 2e-3);
        let expected = [a, a, a, b, b, b, c, c, c, 0.0, 0.0, 0.0, 0.0];
        assert_close(&rates(&schedule, 0..13), &expected);
    }

    #[test]
    fn a_cosine_by_steps_falls_from_step_to_step_after_the_warm_up() {
        let rates = rates(&schedule(Decay::CosineSteps { steps: 7 }), 3..10);
        let (a, b, c) = (8e-3, 6e-3, 2e-3);
        assert_close(&rates, &[a, a, b, c, 0.0, 0.0, 0.0]);
        // a warm-up that is no shorter leaves nothing to fall
        let short = schedule(Decay::CosineSteps { steps: 2 });
        assert_close(&[lr(&short, 4), lr(&short, 5)], &[a, 0.0]);
    }

    #[test]
    fn milestones_count_epochs_from_the_first_step() {
        let decay = Decay::Milestones {
            factor: 0.1,
            epochs: vec![2, 3],
        };
        assert_close(
            &rates(&schedule(decay), 4..10),
            &[8e-3, 8e-3, 8e-4, 8e-4, 8e-4, 8e-5],
        );
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_base_rate() {
        let schedule = Schedule {
            warmup: Warmup::Steps(0),
            ..schedule(Decay::Exponential { factor: 0.5 })
        };
        assert_close(&rates(&schedule, 0..4), &[8e-3, 8e-3, 8e-3, 4e-3]);
    }

    #[test]
    fn epochs_count_where_steps_have_changed() {
        // 40 steps were done in the first two epochs, which have 3 steps each now
        let at = |more: u64| At {
            step: 40 + more,
            in_epochs: 6 + more,
        };
        let rate = |decay| {
            let schedule = Schedule {
                warmup: Warmup::Epochs(1.0),
                ..schedule(decay)
            };
            [0, 3].map(|more| schedule.lr(at(more)))
        };
        assert_close(&rate(Decay::Exponential { factor: 0.5 }), &[4e-3, 2e-3]);
        assert_close(&rate(Decay::Cosine { epochs: 3 }), &[2e-3, 0.0]);
        let milestones = Decay::Milestones {
            factor: 0.1,
            epochs: vec![3],
        };
        assert_close(&rate(milestones), &[8e-3, 8e-4]);
        let cosine = rate(Decay::CosineSteps { steps: 43 });
        assert!(cosine[0] > 0.0 && cosine[1] == 0.0, "{cosine:?}");
    }

    #[test]
    fn a_cosine_is_stretched_to_the_end_of_a_longer_run() {
        let cosine = Decay::Cosine { epochs: 3 };
        assert_eq!(cosine.stretched(30, 4), Some(Decay::Cosine { epochs: 4 }));
        assert_eq!(cosine.stretched(30, 3), None);
        let by_steps = Decay::CosineSteps { steps: 30 };
        let longer = Decay::CosineSteps { steps: 31 };
        assert_eq!(by_steps.stretched(31, 9), Some(longer));
        assert_eq!(by_steps.stretched(30, 9), None);
        assert_eq!(Decay::Constant.stretched(31, 9), None);
    }
}
