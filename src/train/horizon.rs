//! Where a run is among its steps and epochs, and where it ends.

use super::{At, Decay, Progress, RunConfig, Schedule, Trainer};
use crate::words::counted;

/// Where a run is.
pub(super) fn place(schedule: &Schedule, progress: &Progress) -> At {
    let epochs = progress.epoch.saturating_sub(1);
    let in_epochs = epochs.saturating_mul(schedule.steps_per_epoch);
    At {
        step: progress.step,
        in_epochs: in_epochs.saturating_add(progress.batch),
    }
}

/// Steps of a run at its end, if neither time nor likelihood ends it before.
pub(super) fn total_steps(config: &RunConfig, schedule: &Schedule, progress: &Progress) -> u64 {
    let t = &config.train;
    let all = t.epochs.saturating_mul(schedule.steps_per_epoch);
    let At { step, in_epochs } = place(schedule, progress);
    let all = step.saturating_add(all.saturating_sub(in_epochs));
    t.max_steps.map_or(all, |limit| limit.min(all))
}

impl Trainer {
    pub(super) fn total_steps(&self) -> u64 {
        total_steps(&self.config, &self.schedule, &self.progress)
    }

    /// The step that is `back` before the next one.
    pub(super) fn at(&self, back: u64) -> At {
        let next = place(&self.schedule, &self.progress);
        At {
            step: next.step.saturating_sub(back),
            in_epochs: next.in_epochs.saturating_sub(back),
        }
    }

    /// Says so if steps of this session cannot change anything.
    pub(super) fn warn_of_steps_without_a_rate(&mut self) {
        let (end, next) = (self.total_steps(), self.at(0));
        let zero = match self.schedule.decay {
            Decay::CosineSteps { steps } => steps,
            Decay::Cosine { epochs } => {
                let end = epochs.saturating_mul(self.schedule.steps_per_epoch);
                next.step.saturating_add(end.saturating_sub(next.in_epochs))
            }
            _ => return,
        };
        let first = zero.max(next.step);
        if first < end {
            self.watch.line(&format!(
                "the learning rate is 0 from step {first} on, where its cosine has ended, and the run goes on to step {end}: nothing is \
                 learnt there; --cosine {end} ends it with the run"
            ));
        }
    }

    /// Whether a limit of the run is reached.
    pub(super) fn at_limit(&self) -> bool {
        let t = &self.config.train;
        t.max_steps.is_some_and(|limit| self.progress.step >= limit)
            || self.wishes().time_is_up
            || self.at_target()
            || self.is_out_of_patience()
    }

    fn at_target(&self) -> bool {
        let reached = self.config.train.target_bpd.zip(self.progress.best_bpd);
        reached.is_some_and(|(target, best)| best <= target)
    }

    /// Whether validations have not improved for as long as the run waits for that.
    fn is_out_of_patience(&self) -> bool {
        let patience = self.config.train.patience;
        patience.is_some_and(|most| self.progress.without_improvement >= most)
    }

    /// What a user could not see from the limits.
    pub(super) fn say_why_it_ends(&mut self) {
        if self.is_out_of_patience() {
            let validations = counted(self.progress.without_improvement, "validation");
            let line = format!("the end: {validations} in a row without an improvement");
            self.watch.line(&line);
        }
    }
}
