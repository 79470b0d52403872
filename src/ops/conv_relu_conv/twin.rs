//! The two convolutions by libtorch, and the tensors of a call.

use crate::ops::fused::take;
use crate::ops::net_conv::{conv2d, Precision};
use crate::Result;
use tch::Tensor;

pub(super) fn twin(
    x: &Tensor,
    first: &Tensor,
    bias: Option<&Tensor>,
    second: &Tensor,
    precision: Precision,
) -> Result<Tensor> {
    let middle = conv2d(x, first, bias, precision)?.f_relu_()?; // in place: the convolution does not need its own result for its gradient
    conv2d(&middle, second, None, precision)
}

/// The three tensors of every call, and the bias of some.
pub(super) fn with_bias<X>(items: impl IntoIterator<Item = X>) -> ([X; 3], Option<X>) {
    let mut items = items.into_iter();
    let three = take(items.by_ref().take(3));
    (three, items.next())
}
