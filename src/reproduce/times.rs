//! Times and memory as they are kept, by both protocols of `measure`.

use serde::{Deserialize, Serialize};

/// The authors' statistic of a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Authors {
    /// Mean of the calls that were kept, ms.
    pub mean_ms: f64,
    /// Their population deviation, ms.
    pub sd_ms: f64,
    /// Calls kept.
    pub kept: usize,
    /// Calls made.
    pub calls: usize,
}

impl Authors {
    /// The statistic of `times` without the first and last `dropped`; of all if nothing would be left.
    pub fn of(times: &[f64], dropped: usize) -> Self {
        let kept = match times.len() > 2 * dropped {
            true => &times[dropped..times.len() - dropped],
            false => times,
        };
        let count = kept.len().max(1) as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let variance = kept.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / count;
        Self {
            mean_ms: mean,
            sd_ms: variance.sqrt(),
            kept: kept.len(),
            calls: times.len(),
        }
    }
}

/// A time of the sound protocol.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sound {
    /// Median, ms.
    pub median_ms: f64,
    /// Distance of the quartiles, ms.
    pub iqr_ms: f64,
    /// Calls that count.
    pub calls: usize,
    /// Images of a call.
    pub images: i64,
}

/// What a training step costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTimes {
    /// Trainable parameters.
    pub params: i64,
    /// The authors' FT.
    pub ft: Authors,
    /// A training step.
    pub step: Sound,
    /// A forward pass without gradients.
    pub forward: Sound,
    /// Bytes: the peak of training steps less what was held before the model was built.
    pub peak_bytes: Option<u64>,
    /// What was measured as memory.
    pub memory_is: String,
    /// The same with activations that are rebuilt in the backward pass, where that is compared.
    pub rebuilt: Option<RebuiltStep>,
}

/// What a training step costs that rebuilds its activations by inverting the flow
/// ([`gradients_by_inversion`](crate::models::gradients_by_inversion)) instead of keeping them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RebuiltStep {
    /// A training step.
    pub step: Sound,
    /// As in [`StepTimes`].
    pub peak_bytes: Option<u64>,
    /// How far its gradient of all parameters is from the one with kept activations, as a part of that one's length.
    pub gradient_difference: f64,
}

/// What sampling costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleTimes {
    /// The authors' ST.
    pub st: Authors,
    /// One image a call.
    pub one: Sound,
    /// Many images a call.
    pub many: Sound,
    /// Why there is nothing else: an inverse that did not converge.
    pub problem: Option<String>,
    /// Whether the model was one that had not been trained.
    #[serde(default)]
    pub fresh: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_drop_by_position_and_divide_by_the_count() {
        let mut times = vec![9.0; 100];
        times[..20].fill(1000.0);
        times[80..].fill(0.0);
        times[20] = 69.0;
        let st = Authors::of(&times, 20);
        assert_eq!((st.kept, st.calls, st.mean_ms), (60, 100, 10.0));
        // one call 59 away, 59 calls 1 away from the mean
        let variance = (59.0 * 59.0 + 59.0) / 60.0;
        assert!((st.sd_ms - f64::sqrt(variance)).abs() < 1e-12);
        assert_eq!(Authors::of(&[4.0, 6.0], 1).mean_ms, 5.0);
    }
}
