//! torch's fused optimizer kernels, which tch does not expose: one call for all parameters.

mod check;

use super::status::checked;
use super::sys::{self, Handle};
use crate::words::counted;
use crate::{Error, Result};
use check::check_step;
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

/// NULL for a tensor that is not there.
fn handle(tensor: Option<&Tensor>) -> Handle {
    tensor.map_or(std::ptr::null_mut(), |t| t.as_ptr().cast_mut())
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

/// Copies of `tensors`, with every entry set back into `[-limit, limit]`; NaN stays. Two launches for all of them.
///
/// # Errors
/// They are on different devices, or there is not enough memory.
pub fn clamped(tensors: &[Tensor], limit: f64) -> Result<Vec<Tensor>> {
    let handles = handles(tensors);
    let mut out = vec![std::ptr::null_mut(); handles.len()];
    let (all, n) = (handles.as_ptr(), handles.len());
    checked(|error| {
        // SAFETY: handles of borrowed tensors; `out` has room for as many new ones.
        unsafe { sys::ivf_clamp_all(all, n, limit, out.as_mut_ptr(), error) }
    })?;
    // SAFETY: success means that `out` holds new handles of ours.
    let owned = |handle: Handle| unsafe { Tensor::from_ptr(handle) };
    Ok(out.into_iter().map(owned).collect())
}

/// `tensors[i] ← tensors[i] + weight (ends[i] - tensors[i])` in place, `weight` 0-d on their device: where that is 0, nothing is
/// changed unless a difference is not finite. A few launches for all of them on a GPU, one pass over each on a CPU.
///
/// # Errors
/// Lists of different lengths, tensors of different sizes or kinds, or on different devices.
pub fn lerp_all(tensors: &[Tensor], ends: &[Tensor], weight: &Tensor) -> Result<()> {
    if tensors.len() != ends.len() {
        let text = format!(
            "must have {}, got {}",
            counted(tensors.len(), "tensor"),
            ends.len()
        );
        return Err(Error::argument("lerp_all", "ends", text));
    }
    let facts = |t: &Tensor| (t.size(), t.kind(), t.device());
    for (tensor, end) in tensors.iter().zip(ends) {
        if facts(tensor) != facts(end) {
            let text = format!("must be like {:?}, got {:?}", facts(tensor), facts(end));
            return Err(Error::argument("lerp_all", "ends", text));
        }
    }
    let (all, ends, n) = (handles(tensors), handles(ends), tensors.len());
    checked(|error| {
        // SAFETY: lists of `n` handles of borrowed tensors, and one more, alive for the call.
        unsafe {
            sys::ivf_lerp_all(
                all.as_ptr(),
                ends.as_ptr(),
                n,
                weight.as_ptr().cast_mut(),
                error,
            )
        }
    })
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
/// The lists run in parallel, one entry per parameter; `names` are for errors. Gradients are divided by `grad_scale` (0-d
/// float32) before anything else, which is how clipping costs no pass of its own: they are overwritten then. Where `skip`
/// (0-d float32) is 1, nothing is changed; it is 0 otherwise.
///
/// # Errors
/// Lists of different lengths; tensors that differ from their parameter in size, kind or device, or are not contiguous;
/// tensors to be written that share memory with any other. The message names the parameter. torch's kernels check little
/// of this, and on the CPU less than on a GPU: they would write out of bounds, or divide a gradient twice.
pub fn fused_adam_step(
    names: &[String],
    params: &[Tensor],
    grads: &[Tensor],
    state: AdamState<'_>,
    hyper: AdamHyper,
    [grad_scale, skip]: [Option<&Tensor>; 2],
) -> Result<()> {
    // autograd may leave a gradient in another order of its elements
    let grads = grads.iter().map(Tensor::f_contiguous);
    let grads = &grads.collect::<std::result::Result<Vec<_>, _>>()?[..];
    let all = [
        ("params", Some(params)),
        ("grads", Some(grads)),
        ("exp_avg", Some(state.exp_avg)),
        ("exp_avg_sq", Some(state.exp_avg_sq)),
        ("max_exp_avg_sq", state.max_exp_avg_sq),
    ];
    check_step(names, all, state.step, [grad_scale, skip])?;
    let (n, largest) = (params.len(), state.max_exp_avg_sq);
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
        grad_scale: handle(grad_scale),
        skip: handle(skip),
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
    use tch::Kind;

    const HYPER: AdamHyper = AdamHyper {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
    };

    #[test]
    fn norm_is_over_all_tensors() {
        let a = Tensor::from_slice(&[3.0f32]);
        let b = Tensor::from_slice(&[0.0f32, 4.0]);
        assert_eq!(grad_norm(&[a, b]).unwrap().double_value(&[]), 5.0);
        assert!(grad_norm(&[]).is_err());
    }

    #[test]
    fn every_entry_is_clamped_and_nan_stays() {
        let a = Tensor::from_slice(&[-3.0f32, 0.5, f32::INFINITY]).view([1, 3]);
        let b = Tensor::from_slice(&[f32::NAN, -2.0, f32::NEG_INFINITY, 2.5]);
        let all = clamped(&[a.shallow_clone(), b.shallow_clone()], 2.0).unwrap();
        for (got, from) in all.iter().zip([a, b]) {
            let expected = from.clamp(-2.0, 2.0);
            assert_eq!(got.size(), expected.size());
            assert!(got.allclose(&expected, 0.0, 0.0, true), "{got:?}");
        }
        assert!(clamped(&[], 2.0).is_err());
    }

    #[test]
    fn a_step_that_would_write_out_of_bounds_or_twice_is_refused() {
        let numbers = |n: i64| Tensor::zeros([n], (Kind::Float, tch::Device::Cpu));
        let step = |params: &[Tensor], grad: Tensor, m: Tensor, v: Tensor| {
            let state = AdamState {
                exp_avg: &[m],
                exp_avg_sq: &[v],
                max_exp_avg_sq: None,
                step: &Tensor::zeros([0i64; 0], (Kind::Float, tch::Device::Cpu)),
            };
            let names: Vec<_> = params.iter().map(|_| "net.weight".to_owned()).collect();
            let done = fused_adam_step(&names, params, &[grad], state, HYPER, [None, None]);
            done.map_err(|err| err.to_string())
        };
        let params = [numbers(6)];
        assert_eq!(step(&params, numbers(6), numbers(6), numbers(6)), Ok(()));
        let all = numbers(8);
        let (shared, apart) = (all.narrow(0, 0, 6), all.narrow(0, 2, 6));
        let wide = Tensor::zeros([12], (Kind::Float, tch::Device::Cpu));
        let strided = wide.slice(0, 0, 12, 2);
        let double = numbers(6).to_kind(Kind::Double);
        for (grad, m, v, part) in [
            (
                numbers(6),
                numbers(5),
                numbers(6),
                "`exp_avg` of `net.weight` must be",
            ),
            (
                numbers(6),
                numbers(6),
                numbers(0),
                "`exp_avg_sq` of `net.weight` must be",
            ),
            (
                double,
                numbers(6),
                numbers(6),
                "`grads` of `net.weight` must be",
            ),
            (
                numbers(6),
                strided,
                numbers(6),
                "`exp_avg` of `net.weight` must be contiguous",
            ),
            (
                numbers(6),
                params[0].shallow_clone(),
                numbers(6),
                "share memory",
            ),
            (numbers(6), shared, apart, "share memory"),
        ] {
            let err = step(&params, grad, m, v).unwrap_err();
            assert!(err.contains(part), "{err}");
        }
        let err = step(&[], numbers(6), numbers(6), numbers(6)).unwrap_err();
        assert!(err.contains("`grads` must have 0 tensors"), "{err}");
    }

    /// Two parameters with the gradients `grads`, divided by `scale`.
    fn step_of_two(grads: [&Tensor; 2], scale: Option<f64>) -> std::result::Result<(), String> {
        let zeros = || [0, 1].map(|_| Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu)));
        let number = |value: f64| Tensor::from(value as f32);
        let state = AdamState {
            exp_avg: &zeros(),
            exp_avg_sq: &zeros(),
            max_exp_avg_sq: None,
            step: &number(0.0),
        };
        let names = ["a".to_owned(), "b".to_owned()];
        let grads = grads.map(Tensor::shallow_clone);
        let scale = scale.map(number);
        let numbers = [scale.as_ref(), None];
        fused_adam_step(&names, &zeros(), &grads, state, HYPER, numbers)
            .map_err(|err| err.to_string())
    }

    #[test]
    fn gradients_share_no_memory_where_they_are_scaled() {
        let all = Tensor::ones([9], (Kind::Float, tch::Device::Cpu));
        let grad = |start: i64| all.narrow(0, start, 6).view([2, 3]);
        let (first, overlapping, apart) = (&grad(0), &grad(3), &grad(0).copy());
        assert_eq!(step_of_two([first, apart], Some(2.0)), Ok(()));
        // read only
        assert_eq!(step_of_two([first, first], None), Ok(()));
        assert_eq!(step_of_two([first, overlapping], None), Ok(()));
        for other in [first, overlapping] {
            let err = step_of_two([first, other], Some(2.0)).unwrap_err();
            assert!(
                err.contains("`grads` of `a`") && err.contains("`grads` of `b`"),
                "{err}"
            );
        }
        // a scalar that is expanded over its parameter gets memory of its own
        let expanded = Tensor::from(1f32).expand([2, 3], false);
        assert_eq!(step_of_two([&expanded, &expanded], Some(2.0)), Ok(()));
        // a gradient in another order of its elements as well
        let transposed = apart.view([3, 2]).transpose(0, 1);
        assert_eq!(step_of_two([first, &transposed], Some(2.0)), Ok(()));
    }
}
