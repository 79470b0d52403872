//! What the process is doing, for the last words of one that finds no more memory.

use std::sync::atomic::{AtomicU8, Ordering};

/// A part of the work that takes memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Anything else.
    Start,
    /// The images of a data set are read or drawn.
    Data,
    /// A model is put together.
    Model,
    /// Its weights are read from a file.
    Weights,
    /// A step of training.
    Step,
    /// Likelihoods are measured.
    Likelihood,
    /// Images are decoded from latents.
    Decoding,
    /// A checkpoint is written.
    Checkpoint,
}

#[cfg(feature = "program")]
impl Phase {
    const ALL: [Self; 8] = [
        Self::Start,
        Self::Data,
        Self::Model,
        Self::Weights,
        Self::Step,
        Self::Likelihood,
        Self::Decoding,
        Self::Checkpoint,
    ];

    /// How a sentence says when it was; begins with a space, if there is something to say.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Start => "",
            Self::Data => " while reading the data",
            Self::Model => " while building the model",
            Self::Weights => " while reading the weights",
            Self::Step => " in a training step",
            Self::Likelihood => " while measuring likelihoods",
            Self::Decoding => " while decoding images",
            Self::Checkpoint => " while writing a checkpoint",
        }
    }
}

static NOW: AtomicU8 = AtomicU8::new(Phase::Start as u8);

/// From now on this is being done, up to the next call.
pub(crate) fn enter(phase: Phase) {
    NOW.store(phase as u8, Ordering::Relaxed);
}

/// What is being done.
#[cfg(feature = "program")]
pub(crate) fn now() -> Phase {
    let now = usize::from(NOW.load(Ordering::Relaxed));
    Phase::ALL.get(now).copied().unwrap_or(Phase::Start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_found_by_its_number() {
        for (number, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, number);
        }
    }
}
