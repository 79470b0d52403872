//! torch's fused optimizer kernels, which tch does not expose: one call for all parameters.

use super::status::checked;
use super::sys::{self, Handle};
use crate::{Error, Result};
use tch::Tensor;

/// Constants of one Adam step.
#[derive(Debug, Clone, Copy)]
pub struct AdamHyper {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty (added to the gradient).
    pub weight_decay: f64,
}

fn handles(tensors: &[Tensor]) -> Vec<Handle> {
    tensors.iter().map(|t| t.as_ptr().cast_mut()).collect()
}

/// Euclidean norm of all `tensors` together, 0-d, on their device.
///
/// # Errors
/// `tensors` is empty, or they are on different devices.
pub fn grad_norm(tensors: &[Tensor]) -> Result<Tensor> {
    let handles = handles(tensors);
    let mut out: Handle = std::ptr::null_mut();
    checked(|error| {
        // SAFETY: handles of borrowed tensors; `out` receives a new handle.
        unsafe { sys::ivf_global_norm(handles.as_ptr(), handles.len(), &mut out, error) }
    })?;
    // SAFETY: success means that `out` is a new handle of ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// What Adam remembers, one entry per parameter.
#[derive(Debug, Clone, Copy)]
pub struct AdamState<'a> {
    /// First moments, `m`.
    pub exp_avg: &'a [Tensor],
    /// Second moments, `v`.
    pub exp_avg_sq: &'a [Tensor],
    /// Largest second moments so far, for AMSGrad; `None` for plain Adam.
    pub max_exp_avg_sq: Option<&'a [Tensor]>,
    /// Steps so far, 0-d float32; counted up by a step.
    pub step: &'a Tensor,
}

/// One Adam step in place: `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`, `p ← p - lr m̂/(√v̂ + ε)` with bias-corrected
/// moments (Kingma and Ba 2015; torch's `_fused_adam_`). AMSGrad takes the largest `v` so far in the place of `v`.
///
/// The lists run in parallel, one entry per parameter. Gradients are divided by `grad_scale` (0-d float32) before
/// anything else, which is how clipping costs no pass of its own.
///
/// # Errors
/// Lists of different lengths, or tensors of different kinds or devices.
pub fn fused_adam_step(
    params: &[Tensor],
    grads: &[Tensor],
    state: AdamState<'_>,
    hyper: AdamHyper,
    grad_scale: Option<&Tensor>,
) -> Result<()> {
    let n = params.len();
    let largest = state.max_exp_avg_sq;
    if [grads, state.exp_avg, state.exp_avg_sq]
        .into_iter()
        .chain(largest)
        .any(|list| list.len() != n)
    {
        return Err(Error::argument(
            "fused_adam_step",
            "params",
            "and the state lists must have the same length",
        ));
    }
    let lists = [params, grads, state.exp_avg, state.exp_avg_sq].map(handles);
    let largest = largest.map(handles);
    let adam = sys::Adam {
        params: lists[0].as_ptr(),
        grads: lists[1].as_ptr(),
        exp_avg: lists[2].as_ptr(),
        exp_avg_sq: lists[3].as_ptr(),
        max_exp_avg_sq: largest
            .as_ref()
            .map_or(std::ptr::null(), |list| list.as_ptr()),
        n,
        step: state.step.as_ptr().cast_mut(),
        grad_scale: grad_scale.map_or(std::ptr::null_mut(), |t| t.as_ptr().cast_mut()),
        lr: hyper.lr,
        beta1: hyper.beta1,
        beta2: hyper.beta2,
        weight_decay: hyper.weight_decay,
        eps: hyper.eps,
    };
    checked(|error| {
        // SAFETY: lists of `n` handles of borrowed tensors, alive for the call; a missing list is NULL.
        unsafe { sys::ivf_fused_adam(&adam, error) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm_is_over_all_tensors() {
        let a = Tensor::from_slice(&[3.0f32]);
        let b = Tensor::from_slice(&[0.0f32, 4.0]);
        assert_eq!(grad_norm(&[a, b]).unwrap().double_value(&[]), 5.0);
        assert!(grad_norm(&[]).is_err());
    }
}
