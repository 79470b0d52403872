//! The self-normalised gradient, and the centred convolutions it is made of.

use super::conv1x1::mix_channels;
use crate::autograd::{CustomFn, Saved};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// `(x, W, R, b)` to `(W * x + b, 0)`, the zero standing for the log-det `[N]` whose gradient is supplied here.
///
/// With d and l the gradients of the loss with respect to the two outputs, `dx = W^T * d` and `s = sum_n l[n]`
/// (-1 for a mean negative log-likelihood):
///
/// ```text
/// dL/dx = dx,   dL/db = sum d
/// dL/dW = (  sum d x^T      + s m flip(R)^T) / 2
/// dL/dR = (- sum dx (W x)^T - s m flip(W)^T) / 2
/// ```
///
/// Where: the sums run over images and pixels, tap by tap; `m` of a tap is the number of pixels at which it reads
/// inside of the image; flip turns a filter by 180 degrees and T exchanges its channels. If R is the inverse of W, the
/// second line is half of the exact gradient with respect to W, and the third half of that of the model that would be
/// parametrised by R. Training the two together makes up the other halves.
#[derive(Debug)]
pub(super) struct SelfNormalised;

impl CustomFn for SelfNormalised {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let [x, weight, inverse, bias] = four(inputs)?;
        let value = conv(x, weight)?.f_add(&bias.f_view([1, -1, 1, 1])?)?;
        for tensor in [x, weight, inverse, bias, &value] {
            saved.save(tensor);
        }
        // memory of its own: autograd records the outputs of a function in place
        let log_det = Tensor::f_zeros([x.size()[0]], (x.kind(), x.device()))?;
        Ok(vec![value, log_det])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let ([x, weight, inverse, bias], value) = (four(&saved[..4])?, &saved[4]);
        let d = match &grads[0] {
            Some(grad) => grad.shallow_clone(),
            None => value.f_zeros_like()?,
        };
        let dx = conv(&d, &adjoint(weight)?)?;
        let size = x.size();
        let kernel = weight.size()[3];
        // `s m flip(F)^T`
        let log_det_gradient = |filter: &Tensor| -> Result<Option<Tensor>> {
            let Some(grad) = &grads[1] else {
                return Ok(None);
            };
            let sum = grad.f_sum(None::<Kind>)?;
            let counts = tap_counts(kernel, [size[2], size[3]], filter)?;
            Ok(Some(adjoint(filter)?.f_mul(&counts)?.f_mul(&sum)?))
        };
        let half = |data: Tensor, log_det: Option<Tensor>| -> Result<Tensor> {
            let both = match log_det {
                Some(log_det) => data.f_add(&log_det)?,
                None => data,
            };
            Ok(both.f_mul_scalar(0.5)?)
        };
        let mut out: Vec<Option<Tensor>> = vec![None, None, None, None];
        if needs[1] {
            let data = correlation(x, &d, kernel)?;
            out[1] = Some(half(data, log_det_gradient(inverse)?)?);
        }
        if needs[2] {
            let conv_x = value.f_sub(&bias.f_view([1, -1, 1, 1])?)?;
            let data = correlation(&conv_x, &dx, kernel)?;
            out[2] = Some(half(data, log_det_gradient(weight)?)?.f_neg()?);
        }
        if needs[3] {
            out[3] = Some(d.f_sum_dim_intlist([0i64, 2, 3].as_slice(), false, None::<Kind>)?);
        }
        out[0] = Some(dx);
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
        return mix_channels(x, &filter.f_view([size[0], size[1]])?);
    }
    Ok(x.f_conv2d(filter, None::<Tensor>, [1], [kernel / 2], [1], 1)?)
}

/// `flip(F)^T`: the filter of the adjoint of [`conv`].
pub(super) fn adjoint(filter: &Tensor) -> Result<Tensor> {
    Ok(filter.f_transpose(0, 1)?.f_flip([2, 3])?)
}

/// The gradient `[C', C, k, k]` of `<d, conv(x, F)>` with respect to F: one matrix product for each tap.
fn correlation(x: &Tensor, d: &Tensor, kernel: i64) -> Result<Tensor> {
    let (inputs, outputs) = (x.size()[1], d.size()[1]);
    let (height, width) = (d.size()[2], d.size()[3]);
    let pad = kernel / 2;
    let padded = match pad {
        0 => x.shallow_clone(),
        _ => x.f_constant_pad_nd([pad, pad, pad, pad])?,
    };
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

/// For every tap of a k x k filter the number of pixels at which it reads inside of an image of `[h, w]`; `[k, k]`, of
/// the kind and on the device of `like`.
fn tap_counts(kernel: i64, [h, w]: [i64; 2], like: &Tensor) -> Result<Tensor> {
    let inside = |length: i64, tap: i64| (length - (tap - kernel / 2).abs()).max(0);
    let counts: Vec<f64> = (0..kernel * kernel)
        .map(|tap| (inside(h, tap / kernel) * inside(w, tap % kernel)) as f64)
        .collect();
    Ok(Tensor::f_from_slice(&counts)?
        .f_view([kernel, kernel])?
        .f_to_device(like.device())?
        .f_to_kind(like.kind())?)
}
