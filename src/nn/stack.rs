//! Layers with an activation between them.

use super::{Conditioner, Precision};
use crate::ops::net_conv::widened;
use crate::torchscript::Script;
use crate::Result;
use tch::Tensor;

/// What stands between two layers of a [`Stack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` for `x > 0`, else `e^x - 1`.
    Elu,
}

/// Layers, one after the other, with an activation between each two.
///
/// In bfloat16 so is what goes from layer to layer.
#[derive(Debug)]
pub struct Stack {
    activation: Activation,
    layers: Vec<Box<dyn Conditioner>>,
    precision: Precision,
}

impl Stack {
    /// The identity, to be extended by [`push`](Stack::push).
    pub fn new(activation: Activation) -> Self {
        Self {
            activation,
            layers: Vec::new(),
            precision: Precision::Float32,
        }
    }

    /// Appends a layer, and the activation before it unless it is the first. The activation overwrites what the layer
    /// before it made, so that one must be a tensor of its own, which the layer needs no more for its gradients.
    #[must_use]
    pub fn push(mut self, layer: impl Conditioner + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// The activation, in place: no convolution needs its own output for its gradient, and the wide activations are
    /// what a training step's memory traffic is made of.
    fn activate(&self, mut x: Tensor) -> Result<Tensor> {
        Ok(match self.activation {
            Activation::Relu => x.f_relu_()?,
            Activation::Elu => x.f_elu_()?,
        })
    }
}

impl Conditioner for Stack {
    fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let mut value = self.precision.narrowed(x)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                value = self.activate(value)?;
            }
            value = layer.forward(&value, condition)?;
        }
        widened(value, x)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        let mut layers = self.layers.iter_mut();
        layers.try_for_each(|layer| layer.set_precision(precision))?;
        self.precision = precision;
        Ok(())
    }

    fn torchscript(&self) -> Result<Script> {
        let activation = match self.activation {
            Activation::Relu => "torch.relu_(x)",
            Activation::Elu => "torch.elu_(x)",
        };
        let layers = self.layers.iter().map(|layer| layer.layers());
        let layers = layers.collect::<Result<Vec<_>>>()?.concat();
        Ok(Script::net(activation, layers))
    }

    fn initialize(&mut self, x: &Tensor, condition: Option<&Tensor>) -> Result<()> {
        let mut value = x.shallow_clone();
        for index in 0..self.layers.len() {
            if index > 0 {
                value = self.activate(value)?;
            }
            self.layers[index].initialize(&value, condition)?;
            value = self.layers[index].forward(&value, condition)?;
        }
        Ok(())
    }
}
