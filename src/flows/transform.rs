//! The one contract of every layer: a differentiable bijection with its log-determinant.

use crate::nn::Precision;
use crate::ops::filter::{Filters, RawFilter};
use crate::torchscript::Script;
use crate::{Error, Result};
use std::cell::RefCell;
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
    /// `[N, F]`, what is known about each image: a label, a measurement, another image's features. Layers that use none
    /// ignore it; those that need one say so.
    pub condition: Option<&'a Tensor>,
    /// Present while a loss for the optimiser is computed. Layers put their auxiliary losses there, and may then
    /// leave out a log-det whose gradient they supply in another way, which they
    /// [say](Transform::trains_without_log_det); without it everything is exact.
    pub training: Option<&'a AuxiliaryLosses>,
    /// The filters of a model's inverse convolutions, where it has made them all at once; a layer that is not among them
    /// makes its own.
    pub filters: Option<&'a Filters>,
}

/// What layers want minimised beside the negative log-likelihood: see [`Cx::training`].
#[derive(Debug, Default)]
pub struct AuxiliaryLosses(RefCell<Vec<Tensor>>);

impl AuxiliaryLosses {
    /// Adds a 0-d loss, a mean over the batch like the likelihood it stands beside.
    pub fn add(&self, loss: Tensor) {
        self.0.borrow_mut().push(loss);
    }

    /// The sum of all losses; `None` if there is none.
    ///
    /// # Errors
    /// What libtorch reports for losses that cannot be added.
    pub fn total(self) -> Result<Option<Tensor>> {
        let losses = self.0.into_inner();
        if losses.is_empty() {
            return Ok(None);
        }
        Ok(Some(Tensor::f_stack(&losses, 0)?.f_sum(None::<Kind>)?))
    }
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

    /// What the nets inside the layer compute in from now on. A layer without nets leaves this out: all precisions are alike
    /// to it.
    ///
    /// # Errors
    /// A net, or a layer, that cannot compute in this precision.
    fn set_precision(&mut self, _precision: Precision) -> Result<()> {
        Ok(())
    }

    /// The layer in TorchScript, its variables being attributes of the names they have here: what a saved program
    /// runs. See [`crate::torchscript`]. A layer that leaves this out works in every other way.
    ///
    /// # Errors
    /// [`Error::NoTorchScript`] of a layer that has none, which is the default.
    fn torchscript(&self) -> Result<Script> {
        Err(Error::no_torchscript(self.name()))
    }

    /// Whether the layer leaves a log-det out of [training](Cx::training), so that what a training step measures is no
    /// likelihood. A layer whose log-det is always there leaves this out.
    fn trains_without_log_det(&self) -> bool {
        false
    }

    /// What the filters of the inverse convolutions inside are made of, so that a model can make all of them at once: see
    /// [`Cx::filters`]. A layer that leaves this out makes its filters itself.
    fn raw_filters(&self) -> Vec<RawFilter<'_>> {
        Vec::new()
    }

    /// Data-dependent initialisation from a first batch at this layer's input. Idempotent; most layers
    /// have nothing to do.
    ///
    /// # Errors
    /// As `forward`.
    fn initialize(&mut self, _x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        Ok(())
    }
}

/// Sums everything but the batch dimension: `[N, ...]` → `[N]`.
///
/// # Errors
/// A tensor of fewer than two dimensions.
pub fn sum_per_sample(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_flatten(1, -1)?
        .f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
}

/// Implements [`Transform`] for a layer `struct Layer(Inner)`: the inner transform under a name of its own.
macro_rules! named_transform {
    ($layer:ty, $name:literal) => {
        impl $crate::flows::Transform for $layer {
            fn name(&self) -> &'static str {
                $name
            }

            fn forward(
                &self,
                x: &tch::Tensor,
                cx: $crate::flows::Cx<'_>,
            ) -> $crate::Result<$crate::flows::Mapped> {
                self.0.forward(x, cx)
            }

            fn inverse(
                &self,
                z: &tch::Tensor,
                cx: $crate::flows::Cx<'_>,
            ) -> $crate::Result<$crate::flows::Mapped> {
                self.0.inverse(z, cx)
            }

            fn out_shape(&self, chw: [i64; 3]) -> $crate::Result<[i64; 3]> {
                self.0.out_shape(chw)
            }

            fn set_precision(&mut self, precision: $crate::nn::Precision) -> $crate::Result<()> {
                self.0.set_precision(precision)
            }

            fn torchscript(&self) -> $crate::Result<$crate::torchscript::Script> {
                self.0.torchscript()
            }

            fn trains_without_log_det(&self) -> bool {
                self.0.trains_without_log_det()
            }

            fn raw_filters(&self) -> Vec<$crate::ops::filter::RawFilter<'_>> {
                self.0.raw_filters()
            }

            fn initialize(
                &mut self,
                x: &tch::Tensor,
                cx: $crate::flows::Cx<'_>,
            ) -> $crate::Result<()> {
                self.0.initialize(x, cx)
            }
        }
    };
}
pub(super) use named_transform;
