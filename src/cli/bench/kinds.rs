//! The time of a model's layers, kind by kind.

use crate::flows::Cx;
use crate::models::MultiScale;
use crate::train::timing::Clock;
use crate::train::Learner;
use crate::Result;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Milliseconds by layer kind: forward, backward; the optimiser has one number.
pub(super) type Kinds = BTreeMap<&'static str, [f64; 2]>;

/// Time of every layer kind, the median over the samples.
///
/// Every stage runs by itself on a leaf, and its backward pass starts from a fixed gradient; so a stage is charged
/// with two small operations that a whole model does not have.
pub(super) fn by_kind(
    learner: &mut Learner,
    x: &Tensor,
    cx: Cx<'_>,
    device: Device,
    samples: u64,
) -> Result<Kinds> {
    let mut runs: Vec<Kinds> = Vec::new();
    let params: Vec<Tensor> = learner
        .adam
        .params()
        .iter()
        .map(Tensor::shallow_clone)
        .collect();
    let clock = Clock::of(device)?;
    for run in 0..samples + 1 {
        let times = stage_times(&learner.model, &params, x, cx, &clock)?;
        let grads: Vec<Tensor> = params
            .iter()
            .map(Tensor::f_zeros_like)
            .collect::<std::result::Result<_, _>>()?;
        let (optimiser, ()) = clock.time(|| {
            let norm = crate::ffi::optim::grad_norm(&grads)?;
            let scale = norm.f_clamp_min(1.0)?;
            learner.adam.step(&grads, 1e-6, Some(&scale), None)
        })?;
        let mut times = times;
        times.insert("optimiser", [0.0, optimiser]);
        if run > 0 {
            runs.push(times); // the first one warms up
        }
    }
    let mut medians = BTreeMap::new();
    for kind in runs[0].keys() {
        let median = |direction: usize| {
            let mut values: Vec<f64> = runs.iter().map(|run| run[kind][direction]).collect();
            values.sort_by(f64::total_cmp);
            values[(values.len() - 1) / 2]
        };
        medians.insert(*kind, [median(0), median(1)]);
    }
    Ok(medians)
}

/// Forward and backward of every stage by itself, milliseconds, summed up by kind.
fn stage_times(
    model: &MultiScale,
    params: &[Tensor],
    x: &Tensor,
    cx: Cx<'_>,
    clock: &Clock,
) -> Result<Kinds> {
    let mut times = Kinds::new();
    let mut value = x.shallow_clone();
    for stage in model.stages() {
        let leaf = value.f_detach()?.f_set_requires_grad(true)?;
        let (forward, staged) = clock.time(|| stage.forward(&leaf, cx))?;
        let mut loss = staged.kept.f_sum(None::<Kind>)?;
        for made in staged.latent.iter().chain(&staged.log_det) {
            if made.requires_grad() {
                loss = loss.f_add(&made.f_sum(None::<Kind>)?)?;
            }
        }
        let mut inputs: Vec<&Tensor> = vec![&leaf];
        inputs.extend(params);
        let (backward, _) =
            clock.time(|| Ok(Tensor::f_run_backward(&[loss], &inputs, false, false)?))?;
        let entry = times.entry(kind_of(stage.kind())).or_default();
        entry[0] += forward;
        entry[1] += backward;
        value = staged.kept;
    }
    Ok(times)
}

/// The kinds of a report; what has no name of its own there is `other`.
fn kind_of(kind: &'static str) -> &'static str {
    match kind {
        "dequantize" | "scale" | "logit" | "center" => "preprocess",
        "split_prior" => "split",
        "squeeze" | "reverse_channels" => "other",
        kind => kind,
    }
}
