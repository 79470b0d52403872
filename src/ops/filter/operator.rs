//! The operator: the kernels on a GPU, the twin elsewhere.

use super::raw::{EffectiveFilter, RawFilter};
use super::recorded::Recorded;
use super::reference;
use crate::ffi::autograd::apply;
use crate::ops::fused::is_eager;
use crate::{Error, Result};
use tch::{Device, Tensor};

/// The effective filters of some layers; on a GPU all of them in one launch, and their gradients in another.
///
/// ```text
/// W[o] = I0[o] + (M * theta)[o] / s_o,   s_o = sqrt(1 + (r_o / (b d_o))^2),   r_o = sum |(M * theta)[o]|
/// ```
///
/// Where: I0 is the diagonal, 1 or `exp(theta)`, and d_o its entry; M is the mask; b the bound, without which s_o is 1.
///
/// # Gradients
/// Exact; second derivatives are those of [`mod@super::reference`].
///
/// # Errors
/// Tensors that do not fit together.
pub fn effective_filters(raw: &[RawFilter<'_>]) -> Result<Vec<EffectiveFilter>> {
    let Some(first) = raw.first() else {
        return Ok(Vec::new());
    };
    for filter in raw {
        filter.check(first.theta)?;
    }
    if is_eager() || !matches!(first.theta.device(), Device::Cuda(_)) {
        return raw.iter().map(reference::effective_filter).collect();
    }
    let inputs = raw
        .iter()
        .flat_map(|filter| [filter.theta, filter.mask, filter.identity, filter.diagonal]);
    let inputs: Vec<&Tensor> = inputs.collect();
    let mut made = apply(Recorded::new(raw), &inputs)?.into_iter();
    let mut next = || {
        let made = made.next();
        made.ok_or_else(|| Error::Torch("a filter is missing".into()))
    };
    raw.iter()
        .map(|filter| {
            Ok(EffectiveFilter {
                weight: next()?,
                log_diagonal: filter.learnable.then(&mut next).transpose()?,
            })
        })
        .collect()
}
