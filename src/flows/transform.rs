//! The one contract of every layer: a differentiable bijection with its log-determinant.

use crate::Result;
use tch::{Kind, Tensor};

/// The value of a map and `log|det|` of its Jacobian, one number per sample.
#[derive(Debug)]
pub struct Mapped {
    /// `[N, C', H', W']`.
    pub value: Tensor,
    /// `[N]`, in nats, in the kind and on the device of the input.
    pub log_det: Tensor,
}

/// Facts of one call that layers may need; passed by value, so that a new fact changes no signature.
/// `Cx::default()` is evaluation with midpoint dequantisation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cx<'a> {
    /// Dequantisation noise in `[0, 1)` of the shape of the images; `None` stands for 0.5 everywhere.
    pub noise: Option<&'a Tensor>,
}

/// Differentiable bijection data → latent.
///
/// Laws, tested for every layer: `inverse(forward(x)) = x`; the log-dets of the two cancel; no method but
/// [`initialize`](Transform::initialize) writes a parameter or a buffer.
pub trait Transform: std::fmt::Debug + Send {
    /// Kind of the layer in lower case with underscores (`actnorm`, `inv_conv`), for reports and errors.
    fn name(&self) -> &'static str;

    /// `x: [N, C, H, W]` → latent value and `log|det ∂z/∂x|`.
    ///
    /// # Errors
    /// A wrong shape, or a data-dependent layer that is not initialised.
    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped>;

    /// Exact inverse of [`forward`](Transform::forward); its `log_det` is that of the inverse map.
    ///
    /// # Errors
    /// As `forward`.
    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped>;

    /// `[C, H, W]` → `[C', H', W']` of `forward`, without tensors; folded once when a model is built.
    ///
    /// # Errors
    /// A shape that this layer cannot take, with what to change.
    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]>;

    /// Data-dependent initialisation from a first batch at this layer's input. Idempotent; most layers
    /// have nothing to do.
    ///
    /// # Errors
    /// As `forward`.
    fn initialize(&mut self, _x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        Ok(())
    }
}

/// A log-det of zero for a batch like `x`: `[N]` in its kind and on its device.
pub fn zero_log_det(x: &Tensor) -> Tensor {
    Tensor::zeros([x.size()[0]], (x.kind(), x.device()))
}

/// Sums everything but the batch dimension: `[N, ...]` → `[N]`.
pub fn sum_per_sample(x: &Tensor) -> Tensor {
    x.flatten(1, -1)
        .sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)
}
