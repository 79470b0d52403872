//! An image and its first channels, for layers that use these twice.

use super::fused::{is_eager, take};
use crate::autograd::{apply, CustomFn, Saved};
use crate::cuda::channels::add_first;
use crate::ffi::grad_enabled;
use crate::words::dtype;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// `x` itself and its first `count` channels.
///
/// The values are those of a narrowing; what differs is the gradient, one pass over it instead of three (zeros, a copy into
/// them, a sum):
///
/// ```text
/// dL/dx = dL/dvalue + (dL/dfirst, 0)
/// ```
///
/// # Shapes
/// `x` `[N, C, H, W]` → `[N, C, H, W]` and `[N, count, H, W]`, which is a view of `x`. float32 or float64; any strides.
///
/// # Gradients
/// Exact, of any order.
///
/// # Errors
/// A tensor without channels, or with fewer than `count`.
pub fn first_channels(x: &Tensor, count: i64) -> Result<(Tensor, Tensor)> {
    let size = x.size();
    if size.len() != 4 || !matches!(x.kind(), Kind::Float | Kind::Double) {
        let text = format!(
            "must be [N, C, H, W], float32 or float64, got {size:?} {}",
            dtype(x.kind())
        );
        return Err(Error::argument("first_channels", "x", text));
    }
    if !(0..=size[1]).contains(&count) {
        let text = format!("must be a number from 0 to {}, got {count}", size[1]);
        return Err(Error::argument("first_channels", "count", text));
    }
    // a gradient of no channels is nothing to add
    let recorded = count > 0 && x.requires_grad() && grad_enabled();
    if is_eager() || !recorded {
        return Ok((x.shallow_clone(), x.f_narrow(1, 0, count)?));
    }
    let [value, first] = take(apply(
        FirstChannels {
            channels: size[1],
            count,
        },
        &[x],
    )?);
    Ok((value, first))
}

/// The channels of `x` `[N, C, H, W]` in two parts, views of it. The gradient is one concatenation.
///
/// # Errors
/// Counts that do not add up to C.
pub(crate) fn split_channels(x: &Tensor, counts: [i64; 2]) -> Result<[Tensor; 2]> {
    Ok(take(x.f_split_with_sizes(counts, 1)?))
}

struct FirstChannels {
    channels: i64,
    count: i64,
}

impl FirstChannels {
    /// `first` with zeros behind it.
    fn padded(&self, first: &Tensor) -> Result<Tensor> {
        let behind = self.channels - self.count;
        Ok(first.f_constant_pad_nd([0, 0, 0, 0, 0, behind])?)
    }
}

impl CustomFn for FirstChannels {
    fn forward(&self, _saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = &inputs[0];
        Ok(vec![x.shallow_clone(), x.f_narrow(1, 0, self.count)?])
    }

    fn backward(
        &self,
        _saved: &[Tensor],
        grads: &[Option<Tensor>],
        _needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let grad = match [&grads[0], &grads[1]] {
            [None, None] => return Ok(vec![None]),
            [Some(value), None] => value.shallow_clone(),
            [None, Some(first)] => self.padded(first)?,
            // recorded, for derivatives of higher order
            [Some(value), Some(first)] if grad_enabled() => value.f_add(&self.padded(first)?)?,
            [Some(value), Some(first)] if matches!(value.device(), Device::Cuda(_)) => {
                add_first(&value.f_contiguous()?, &first.f_contiguous()?)?
            }
            [Some(value), Some(first)] => {
                // a tensor of its own: others may hold the incoming gradient
                let sum = value.f_empty_like()?;
                sum.shallow_clone().f_copy_(value)?;
                let _ = sum.f_narrow(1, 0, self.count)?.f_add_(first)?;
                sum
            }
        };
        Ok(vec![Some(grad)])
    }
}
