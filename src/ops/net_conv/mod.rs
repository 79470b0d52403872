//! The convolution of nets, in a precision of choice.
//!
//! | module | idea |
//! |---|---|
//! | [`precision`] | what the nets of a model compute in |
//! | [`tf32`] | a convolution that may use TF32, in both passes and nowhere else |

mod precision;
mod tf32;

pub(crate) use precision::widened;
pub use precision::Precision;
pub(crate) use tf32::permission;

use crate::Result;
use tch::Tensor;

/// Convolution with stride 1 and zero padding `(k-1)/2`, so that the image keeps its size; odd `k`.
///
/// In bfloat16 the result is bfloat16; weights and bias are narrowed here, once a call.
///
/// # Shapes
/// `x` `[N, C, H, W]`, `weight` `[C', C, k, k]`, `bias` `[C']` → `[N, C', H, W]`.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    precision: Precision,
) -> Result<Tensor> {
    let padding = padding(weight);
    let plain = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
        x.f_conv2d(weight, bias, [1], [padding], [1], 1)
    };
    match precision.of(x) {
        Precision::Float32 => Ok(plain(x, weight, bias)?),
        Precision::Tf32 => {
            let mut y = tf32::conv2d(x, weight, padding)?;
            Ok(match bias {
                // in place: no pass needs the sum without it
                Some(bias) => y.f_add_(&bias.f_view([1, -1, 1, 1])?)?,
                None => y,
            })
        }
        Precision::BFloat16 => {
            let x = precision.narrowed(x)?;
            let narrow = |filter: &Tensor| precision.narrowed_filter(filter);
            let bias = bias.map(narrow).transpose()?;
            Ok(plain(&x, &narrow(weight)?, bias.as_ref())?)
        }
    }
}

/// The padding on each side with which `weight` keeps the size of an image.
pub(crate) fn padding(weight: &Tensor) -> i64 {
    (weight.size()[3] - 1) / 2
}
