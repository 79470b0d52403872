//! A convolution that may use TF32, in both passes and nowhere else.

use super::Precision;
use crate::autograd::{apply, CustomFn, Saved};
use crate::cuda::precision::Tf32Convolutions;
use crate::ffi::convolution::conv2d_backward;
use crate::Result;
use tch::Tensor;

/// What the convolutions of an operator in `precision` need while they run.
pub(crate) fn permission(precision: Precision) -> Result<Option<Tf32Convolutions>> {
    (precision == Precision::Tf32)
        .then(Tf32Convolutions::allow)
        .transpose()
}

/// `x` convolved with `weight`, zero-padded by `padding` on all sides; float32 on a GPU.
///
/// Whether cuDNN may use TF32 is a setting of the process, which the backward pass of libtorch's own convolution would read
/// when it runs: later, on another thread, when it may be another one. So both passes are ours, and each sets it.
pub(super) fn conv2d(x: &Tensor, weight: &Tensor, padding: i64) -> Result<Tensor> {
    let [y] = super::super::fused::take(apply(Conv { padding }, &[x, weight])?);
    Ok(y)
}

struct Conv {
    padding: i64,
}

impl CustomFn for Conv {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        inputs.iter().for_each(|input| saved.save(input));
        let _allowed = Tf32Convolutions::allow()?;
        let (one, padding) = ([1], [self.padding]);
        let y = inputs[0].f_conv2d(&inputs[1], None::<&Tensor>, one, padding, one, 1)?;
        Ok(vec![y])
    }

    /// Second derivatives are those of libtorch's own backward pass, in float32.
    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(grad) = &grads[0] else {
            return Ok(vec![None, None]);
        };
        let _allowed = Tf32Convolutions::allow()?;
        let needs = [needs[0], needs[1]];
        let grads = conv2d_backward(grad, &saved[0], &saved[1], self.padding, needs)?;
        Ok(grads.into())
    }
}
