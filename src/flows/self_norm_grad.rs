//! The self-normalised gradient, and the centred convolutions it is made of.

use super::conv1x1::mix_channels;
use crate::autograd::{CustomFn, Saved};
use crate::ffi::grad_enabled;
use crate::{Error, Result};
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// `(x, W, R, b)` to `(W * x + b, 0, loss)`, the zero standing for the log-det `[N]` whose gradient is supplied here, and the
/// loss for `scale sum |x - R W x|^2`, or with `symmetric` for the mean of that and `scale sum |z - W R z|^2`, `z = W x`.
///
/// With d, l and g the gradients of the three outputs, `dx = W^T * d`, `s = sum_n l[n]` (-1 for a mean negative
/// log-likelihood), and e the gradient of the loss with respect to `y = R z`:
///
/// ```text
/// dL/dx = dx,   dL/db = sum d
/// dL/dW = (  sum d x^T      + s m flip(R)^T) / 2  +  sum (R^T * e) x^T
/// dL/dR = (- sum dx (W x)^T - s m flip(W)^T) / 2  +  sum e z^T
///
/// e = -2 scale g (x - y)      symmetric:  f = -scale g (z - W y),   e = -scale g (x - y) + W^T * f,   dL/dW += sum f y^T
/// ```
///
/// Where: the sums run over images and pixels, tap by tap; `m` of a tap is the number of pixels at which it reads
/// inside of the image; flip turns a filter by 180 degrees and T exchanges its channels. If R is the inverse of W, the
/// first half of the second line is half of the exact gradient with respect to W, and that of the third half of that of the
/// model that would be parametrised by R. Training the two together makes up the other halves. The loss shapes R and W
/// alone: neither the input x nor the target z gets a gradient from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelfNormalised {
    pub scale: f64,
    pub symmetric: bool,
}

/// What the reconstruction loss is made of.
struct Reconstruction {
    /// `W x`
    z: Tensor,
    /// `R z`
    y: Tensor,
    /// `x - y`
    error: Tensor,
    /// `z - W y`
    other: Option<Tensor>,
}

impl SelfNormalised {
    fn reconstruct(&self, x: &Tensor, weight: &Tensor, inverse: &Tensor) -> Result<Reconstruction> {
        let z = conv(x, weight)?;
        let y = conv(&z, inverse)?;
        let other = self
            .symmetric
            .then(|| -> Result<Tensor> { Ok(z.f_detach()?.f_sub(&conv(&y, weight)?)?) });
        Ok(Reconstruction {
            error: x.f_sub(&y)?,
            other: other.transpose()?,
            z,
            y,
        })
    }

    fn loss_of(&self, reconstruction: &Reconstruction) -> Result<Tensor> {
        let squares = |error: &Tensor| error.f_square()?.f_sum(None::<Kind>);
        let error = squares(&reconstruction.error)?;
        Ok(match &reconstruction.other {
            None => error.f_mul_scalar(self.scale)?,
            Some(other) => error
                .f_add(&squares(other)?)?
                .f_mul_scalar(0.5 * self.scale)?,
        })
    }

    /// The loss as a function of W and R, recorded by autograd operation by operation.
    pub(super) fn loss(&self, x: &Tensor, weight: &Tensor, inverse: &Tensor) -> Result<Tensor> {
        self.loss_of(&self.reconstruct(&x.f_detach()?, weight, inverse)?)
    }
}

impl CustomFn for SelfNormalised {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let [x, weight, inverse, bias] = four(inputs)?;
        let found = self.reconstruct(x, weight, inverse)?;
        let value = found.z.f_add(&bias.f_view([1, -1, 1, 1])?)?;
        let loss = self.loss_of(&found)?;
        let Reconstruction { z, y, error, other } = found;
        for tensor in [x, weight, inverse, &z, &error] {
            saved.save(tensor);
        }
        if let Some(other) = &other {
            saved.save(&y);
            saved.save(other);
        }
        // memory of its own: autograd records the outputs of a function in place
        let log_det = Tensor::f_zeros([x.size()[0]], (x.kind(), x.device()))?;
        Ok(vec![value, log_det, loss])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, weight, inverse) = (&saved[0], &saved[1], &saved[2]);
        let found = if grad_enabled() {
            // whoever differentiates this again needs them as functions of the inputs
            self.reconstruct(x, weight, inverse)?
        } else {
            Reconstruction {
                z: saved[3].shallow_clone(),
                error: saved[4].shallow_clone(),
                y: saved.get(5).unwrap_or(&saved[4]).shallow_clone(),
                other: saved.get(6).map(Tensor::shallow_clone),
            }
        };
        let d = grads[0].as_ref();
        let adjoints = [adjoint(weight)?, adjoint(inverse)?];
        let size = x.size();
        // `e` and `f`
        let of_loss = match &grads[2] {
            None => None,
            Some(grad) => {
                let factor = if self.symmetric { -1.0 } else { -2.0 } * self.scale;
                let grad = grad.f_mul_scalar(factor)?;
                let e = found.error.f_mul(&grad)?;
                let f = found.other.as_ref().map(|other| other.f_mul(&grad));
                let f = f.transpose()?;
                Some(match f {
                    None => (e, None),
                    Some(f) => (conv_added(&e, 1.0, &f, &adjoints[0])?, Some(f)),
                })
            }
        };
        let e = of_loss.as_ref().map(|(e, _)| e);
        let sum = grads[1].as_ref().map(|grad| grad.f_sum(None::<Kind>));
        let sum = sum.transpose()?;
        // `s m F` added to a gradient, or taken away, in halves
        let with_log_det = |data: Option<Tensor>, filter: &Tensor, sign: f64| -> Result<_> {
            let Some(sum) = &sum else {
                return Ok(data);
            };
            let (counted, count) = tap_counts(filter, [size[2], size[3]])?;
            let half = sum.f_mul_scalar(0.5 * sign * count)?;
            Ok(Some(match data {
                None => counted.f_mul(&half)?,
                Some(data) => data.f_addcmul(&counted, &half)?,
            }))
        };
        let kernel = weight.size()[3];
        let mut out: Vec<Option<Tensor>> = vec![None, None, None, None];
        if needs[1] {
            let seen = match (d, e) {
                (None, None) => None,
                (Some(d), None) => Some(d.f_mul_scalar(0.5)?),
                (None, Some(e)) => Some(conv(e, &adjoints[1])?),
                (Some(d), Some(e)) => Some(conv_added(d, 0.5, e, &adjoints[1])?),
            };
            let data = seen.map(|seen| correlation(x, &seen, kernel));
            let data = match (data.transpose()?, of_loss.as_ref()) {
                (Some(data), Some((_, Some(f)))) => {
                    Some(data.f_add(&correlation(&found.y, f, kernel)?)?)
                }
                (data, _) => data,
            };
            out[1] = with_log_det(data, &adjoints[1], 1.0)?;
        }
        let dx = d.map(|d| conv(d, &adjoints[0])).transpose()?;
        if needs[2] {
            let half = dx.as_ref().map(|dx| dx.f_mul_scalar(-0.5)).transpose()?;
            let seen = match (half, e) {
                (half, None) => half,
                (None, Some(e)) => Some(e.shallow_clone()),
                (Some(half), Some(e)) => Some(half.f_add(e)?),
            };
            let data = seen.map(|seen| correlation(&found.z, &seen, kernel));
            out[2] = with_log_det(data.transpose()?, &adjoints[0], -1.0)?;
        }
        if needs[3] {
            let sum =
                |d: &Tensor| d.f_sum_dim_intlist([0i64, 2, 3].as_slice(), false, None::<Kind>);
            out[3] = d.map(sum).transpose()?;
        }
        out[0] = dx;
        Ok(out)
    }
}

fn four(tensors: &[Tensor]) -> Result<&[Tensor; 4]> {
    tensors.try_into().map_err(|_| {
        Error::Torch(format!(
            "a custom function got {} of 4 tensors",
            tensors.len()
        ))
    })
}

/// Convolution with an odd filter `[C', C, k, k]`, zero-padded so that the image keeps its size.
pub(super) fn conv(x: &Tensor, filter: &Tensor) -> Result<Tensor> {
    let size = filter.size();
    let kernel = size[3];
    if kernel == 1 {
        return mix_channels(x, &filter.f_reshape([size[0], size[1]])?);
    }
    Ok(x.f_conv2d(filter, None::<Tensor>, [1], [kernel / 2], [1], 1)?)
}

/// `factor start + conv(x, F)`, as one operation where the convolution is a matrix product.
fn conv_added(start: &Tensor, factor: f64, x: &Tensor, filter: &Tensor) -> Result<Tensor> {
    let size = x.size();
    let [n, c, h, w] = [size[0], size[1], size[2], size[3]];
    let filter_size = filter.size();
    if filter_size[3] != 1 {
        return Ok(start.f_mul_scalar(factor)?.f_add(&conv(x, filter)?)?);
    }
    let outputs = filter_size[0];
    let matrices = filter
        .f_reshape([1, outputs, c])?
        .f_expand([n, outputs, c], false)?;
    let flat = |t: &Tensor, channels: i64| t.f_reshape([n, channels, h * w]);
    Ok(flat(start, outputs)?
        .f_baddbmm(&matrices, &flat(x, c)?, factor, 1.0)?
        .f_view([n, outputs, h, w])?)
}

/// `flip(F)^T`: the filter of the adjoint of [`conv`].
pub(super) fn adjoint(filter: &Tensor) -> Result<Tensor> {
    let turned = filter.f_transpose(0, 1)?;
    if filter.size()[3] == 1 {
        // nothing to flip, and a matrix product takes any strides
        return Ok(turned);
    }
    Ok(turned.f_flip([2, 3])?)
}

/// The gradient `[C', C, k, k]` of `<d, conv(x, F)>` with respect to F: one matrix product for each tap.
fn correlation(x: &Tensor, d: &Tensor, kernel: i64) -> Result<Tensor> {
    let (inputs, outputs) = (x.size()[1], d.size()[1]);
    let (images, height, width) = (d.size()[0], d.size()[2], d.size()[3]);
    if kernel == 1 {
        let d = d.f_reshape([images, outputs, height * width])?;
        let x = x.f_reshape([images, inputs, height * width])?;
        return Ok(d
            .f_bmm(&x.f_transpose(1, 2)?)?
            .f_sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)?
            .f_view([outputs, inputs, 1, 1])?);
    }
    let pad = kernel / 2;
    let padded = x.f_constant_pad_nd([pad, pad, pad, pad])?;
    let mut taps = Vec::with_capacity((kernel * kernel) as usize);
    for row in 0..kernel {
        for column in 0..kernel {
            let seen = padded
                .f_narrow(2, row, height)?
                .f_narrow(3, column, width)?;
            taps.push(Tensor::f_einsum("nohw,nihw->oi", &[d, &seen], None::<i64>)?);
        }
    }
    Ok(Tensor::f_stack(&taps, -1)?.f_view([outputs, inputs, kernel, kernel])?)
}

/// A filter times, for every tap, the number of pixels of an image of `[h, w]` at which it reads inside of the image: as a
/// tensor and a number that are to be multiplied.
fn tap_counts(filter: &Tensor, [h, w]: [i64; 2]) -> Result<(Tensor, f64)> {
    let kernel = filter.size()[3];
    if kernel == 1 {
        return Ok((filter.shallow_clone(), (h * w) as f64));
    }
    let counts = kept_counts(kernel, [h, w], (filter.kind(), filter.device()))?;
    Ok((filter.f_mul(&counts)?, 1.0))
}

/// Side of a filter, `[h, w]` of an image, kind and device.
type CountsOf = (i64, [i64; 2], (Kind, Device));

/// For every tap of a filter of side `kernel` the number of pixels at which it reads inside of an image of `[h, w]`.
///
/// They are made once for each size: numbers that go to a GPU in every step are numbers that the host waits for.
fn kept_counts(kernel: i64, [h, w]: [i64; 2], (kind, device): (Kind, Device)) -> Result<Tensor> {
    static KEPT: Mutex<Vec<(CountsOf, Tensor)>> = Mutex::new(Vec::new());
    let of = (kernel, [h, w], (kind, device));
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, counts)) = kept.iter().find(|(known, _)| *known == of) {
        return Ok(counts.shallow_clone());
    }
    let inside = |length: i64, tap: i64| (length - (tap - kernel / 2).abs()).max(0);
    let counts: Vec<f64> = (0..kernel * kernel)
        .map(|tap| (inside(h, tap / kernel) * inside(w, tap % kernel)) as f64)
        .collect();
    let counts = Tensor::f_from_slice(&counts)?
        .f_view([kernel, kernel])?
        .f_to_device(device)?
        .f_to_kind(kind)?;
    kept.push((of, counts.shallow_clone()));
    Ok(counts)
}
