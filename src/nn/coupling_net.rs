//! The nets that condition the couplings of the paper's tables.

use super::conditioner::check_width;
use super::conv::ConvPair;
use super::{Conditioner, Conv2d, Conv2dZero, Precision};
use crate::ops::net_conv::widened;
use crate::torchscript::Script;
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::{nn, Tensor};

/// Coupling nets, `h` inputs, `w` = width, `C` outputs.
///
/// The paper's code has had several; its parameter counts tell which table used which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Net {
    /// Wide: 3x3 (h→w, bias), ReLU, 1x1 (w→w, bias), ReLU, zero-initialised 3x3 (w→C) with a log-scale.
    W,
    /// Narrow: 3x3 (h→w), ReLU, 1x1 (w→C), ReLU, zero-initialised 3x3 (C→C) with a log-scale.
    N,
    /// Two layers: 3x3 (h→w, no bias), ReLU, 1x1 (w→C, no bias). Starts random, not as the identity, unless
    /// [`CouplingConfig::zero_init_last`] is set.
    T,
    /// 3x3 (h→w, bias), ReLU, zero-initialised 3x3 (w→C) with a log-scale.
    Z,
}

/// Affine coupling: which net, and how wide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CouplingConfig {
    /// Which net.
    pub net: Net,
    /// Hidden channels.
    pub width: i64,
    /// Start net T's last layer at zero, so that its coupling starts as the identity; the other nets always do.
    #[serde(default)]
    pub zero_init_last: bool,
}

impl CouplingConfig {
    /// The same kind of net in another width.
    #[must_use]
    pub fn with_width(&self, width: i64) -> Self {
        Self {
            width,
            ..self.clone()
        }
    }
}

/// Convolutions with a ReLU between them; a pair whose middle is wide is one operation (`conv_relu_conv`).
///
/// Variables are numbered as in a torch `Sequential` that counts the ReLUs: `0.weight`, `2.weight`, `4.weight`,
/// `4.bias`, `4.logs`. Convolutions start from torch's default, `U(-b, b)` with `b = 1/sqrt(fan-in)`.
///
/// # Shapes
/// `[N, h, H, W]` → `[N, C, H, W]`.
#[derive(Debug)]
pub struct CouplingNet {
    layers: Vec<Box<dyn Conditioner>>,
    precision: Precision,
}

impl CouplingNet {
    /// The net `config.net` from `inputs` to `outputs` channels.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a width below 1.
    pub fn new(vs: &nn::Path, inputs: i64, outputs: i64, config: &CouplingConfig) -> Result<Self> {
        Self::build(vs, [inputs, outputs], config, None)
    }

    /// The same net under a condition of `features` numbers for each image: a linear function of them is added to the
    /// hidden channels after the first convolution. One variable more, `0.condition` `[w, F]`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a width or a number of features below 1.
    pub fn with_condition(
        vs: &nn::Path,
        inputs: i64,
        outputs: i64,
        config: &CouplingConfig,
        features: i64,
    ) -> Result<Self> {
        Self::build(vs, [inputs, outputs], config, Some(features))
    }

    fn build(
        vs: &nn::Path,
        [inputs, outputs]: [i64; 2],
        config: &CouplingConfig,
        features: Option<i64>,
    ) -> Result<Self> {
        let w = check_width(config.width)?;
        // the i-th convolution stands at 2i, the ReLUs between them
        let at = |index: i64| vs / (2 * index);
        let first = |bias: bool| {
            let conv = Conv2d::new(&at(0), inputs, w, 3, bias)?;
            match features {
                None => Ok(conv),
                Some(features) => conv.conditioned(&at(0), features),
            }
        };
        let layers: Vec<Box<dyn Conditioner>> = match config.net {
            Net::W => vec![
                Box::new(first(true)?),
                Box::new(Conv2d::new(&at(1), w, w, 1, true)?),
                Box::new(Conv2dZero::new(&at(2), w, outputs)?),
            ],
            Net::N => vec![
                Box::new(ConvPair {
                    first: first(false)?,
                    second: Conv2d::new(&at(1), w, outputs, 1, false)?,
                }),
                Box::new(Conv2dZero::new(&at(2), outputs, outputs)?),
            ],
            Net::T => {
                let last = if config.zero_init_last {
                    Conv2d::zeros
                } else {
                    Conv2d::new
                };
                vec![Box::new(ConvPair {
                    first: first(false)?,
                    second: last(&at(1), w, outputs, 1, false)?,
                })]
            }
            Net::Z => vec![Box::new(ConvPair {
                first: first(true)?,
                second: Conv2dZero::new(&at(1), w, outputs)?,
            })],
        };
        Ok(Self {
            layers,
            precision: Precision::Float32,
        })
    }
}

impl Conditioner for CouplingNet {
    fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let mut value = self.precision.narrowed(x)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                // in place: no convolution needs its own output for its gradient, and the wide activations are
                // what a training step's memory traffic is made of
                value = value.f_relu_()?;
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
        let layers = self.layers.iter().map(|layer| layer.layers());
        let layers = layers.collect::<Result<Vec<_>>>()?.concat();
        Ok(Script::net("torch.relu_(x)", layers))
    }
}
