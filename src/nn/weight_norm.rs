//! Weight-normalised convolutions whose first batch comes out standardised, and the coupling net made of them.

use super::conditioner::check_width;
use super::first_batch::{FirstBatch, Moments};
use super::stack::{Activation, Stack};
use super::{Conditioner, Conv2d, Precision};
use crate::ops::net_conv::widened;
use crate::ops::weight_norm::weight_norm;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, nn::Init, Tensor};

/// Deviation of the initial directions.
const INIT_STD: f64 = 0.05;

/// The parameters of a convolution in the form of length and direction, and a bias:
///
/// ```text
/// w[o] = gain[o] direction[o] / |direction[o]|      (norm over all inputs and taps of output o)
/// ```
///
/// Variables: `direction` `[C', C, kh, kw]` from `N(0, 0.05^2)`, `gain` `[C', 1, 1, 1]`, `bias` `[C']`. A
/// [standardised](WeightNorm::standardised) one has the buffer `initialized` too, and takes `gain` and `bias` from a
/// first batch, so that its outputs begin with mean 0 and variance 1; a [zero](WeightNorm::zeros) one starts as the
/// zero map.
///
/// Source: Salimans, Kingma, *Weight normalization*, 2016, <https://arxiv.org/abs/1602.07868>.
#[derive(Debug)]
pub struct WeightNorm {
    direction: Tensor,
    gain: Tensor,
    bias: Tensor,
    first: Option<FirstBatch>,
}

impl WeightNorm {
    /// Parameters of shape `[C', C, kh, kw]` that need a first batch.
    ///
    /// # Errors
    /// What libtorch reports when it cannot make the parameters.
    pub fn standardised(vs: &nn::Path, shape: [i64; 4]) -> Result<Self> {
        let first = FirstBatch::new(vs, "weight-normalised convolution")?;
        Self::with_gain(vs, shape, 1.0, Some(first))
    }

    /// Parameters of shape `[C', C, kh, kw]` of the zero map.
    ///
    /// # Errors
    /// As [`standardised`](WeightNorm::standardised).
    pub fn zeros(vs: &nn::Path, shape: [i64; 4]) -> Result<Self> {
        Self::with_gain(vs, shape, 0.0, None)
    }

    fn with_gain(
        vs: &nn::Path,
        shape: [i64; 4],
        gain: f64,
        first: Option<FirstBatch>,
    ) -> Result<Self> {
        let outputs = shape[0];
        let directions = Init::Randn {
            mean: 0.0,
            stdev: INIT_STD,
        };
        Ok(Self {
            direction: vs.f_var("direction", &shape, directions)?,
            gain: vs.f_var("gain", &[outputs, 1, 1, 1], Init::Const(gain))?,
            bias: vs.f_var("bias", &[outputs], Init::Const(0.0))?,
            first,
        })
    }

    /// `[C', C, kh, kw]`, the weight of the convolution.
    ///
    /// # Errors
    /// [`NotInitialized`](crate::Error::NotInitialized) before the first batch.
    pub fn weight(&self) -> Result<Tensor> {
        let [weight] = Self::weights([self])?;
        Ok(weight)
    }

    /// The weights of several convolutions, in one operation.
    ///
    /// # Errors
    /// As [`weight`](WeightNorm::weight).
    pub fn weights<const N: usize>(of: [&Self; N]) -> Result<[Tensor; N]> {
        for first in of.iter().filter_map(|norm| norm.first.as_ref()) {
            first.require()?;
        }
        let weights = weight_norm(&of.map(|norm| (&norm.direction, &norm.gain)))?;
        <[Tensor; N]>::try_from(weights)
            .map_err(|_| Error::Torch("an operation lost an output".into()))
    }

    /// The parameters in TorchScript, with a method `weight`.
    pub fn script(&self) -> Script {
        Script::new("WeightNorm", include_str!("weight_norm.torchscript.py"))
    }

    /// `[C']`.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// Sets `gain` and `bias` so that `convolve` of the weight and the bias has mean 0 and variance 1 in every
    /// channel. Once: later batches, and a zero map, change nothing.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a batch of fewer than two values per channel.
    pub fn initialize(
        &mut self,
        convolve: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let Some(first) = &mut self.first else {
            return Ok(());
        };
        if first.seen()? {
            return Ok(());
        }
        tch::no_grad(|| -> Result<()> {
            let [weight] = <[Tensor; 1]>::try_from(weight_norm(&[(&self.direction, &self.gain)])?)
                .map_err(|_| Error::Torch("an operation lost an output".into()))?;
            let Moments { mean, log_std } = first.moments(&convolve(&weight, &self.bias)?)?;
            let scale = log_std.f_neg()?.f_exp()?;
            let gain = self.gain.f_mul(&scale.f_view([-1, 1, 1, 1])?)?;
            self.gain.f_copy_(&gain)?;
            self.bias.f_copy_(&self.bias.f_sub(&mean)?.f_mul(&scale)?)?;
            Ok(())
        })?;
        first.set_seen()
    }
}

/// A [`WeightNorm`] with a square odd kernel as a convolution that keeps the size of the image.
#[derive(Debug)]
struct WeightNormConv2d(WeightNorm, Precision);

impl WeightNormConv2d {
    fn new(weights: WeightNorm) -> Self {
        Self(weights, Precision::Float32)
    }
}

impl Conditioner for WeightNormConv2d {
    fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> Result<Tensor> {
        let conv = Conv2d::from_parts(self.0.weight()?, Some(self.0.bias().shallow_clone()));
        widened(conv.in_precision(self.1).convolve(x)?, x)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.1 = precision;
        Ok(())
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "WeightNormConv2d",
            include_str!("weight_norm_conv2d.torchscript.py"),
        ))
    }

    fn initialize(&mut self, x: &Tensor, _condition: Option<&Tensor>) -> Result<()> {
        self.0.initialize(|weight, bias| {
            Conv2d::from_parts(weight.shallow_clone(), Some(bias.shallow_clone())).convolve(x)
        })
    }
}

/// Coupling net of weight-normalised convolutions: 3x3 (`inputs` → `width`), ELU, 1x1 (`width` → `width`), ELU, 3x3
/// (`width` → `outputs`) that starts at zero.
///
/// Variables: those of [`WeightNorm`] under `0`, `2` and `4`, the numbers of a torch `Sequential` that counts the ELUs.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for a width below 1.
///
/// Source: Ma, Kong, Zhang, Hovy, *MaCow*, 2019, <https://arxiv.org/abs/1902.04208>.
pub fn weight_norm_net(vs: &nn::Path, inputs: i64, outputs: i64, width: i64) -> Result<Stack> {
    check_width(width)?;
    let first = WeightNorm::standardised(&(vs / 0), [width, inputs, 3, 3])?;
    let second = WeightNorm::standardised(&(vs / 2), [width, width, 1, 1])?;
    let third = WeightNorm::zeros(&(vs / 4), [outputs, width, 3, 3])?;
    Ok(Stack::new(Activation::Elu)
        .push(WeightNormConv2d::new(first))
        .push(WeightNormConv2d::new(second))
        .push(WeightNormConv2d::new(third)))
}
