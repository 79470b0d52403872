//! Convolutions followed by activation normalisation, and the coupling net of the original Glow made of them.

use super::conditioner::check_width;
use super::conv::LOGS_FACTOR;
use super::first_batch::{FirstBatch, Moments};
use super::stack::{Activation, Stack};
use super::{Conditioner, Conv2d, Precision};
use crate::ops::actnorm::scale_channels;
use crate::ops::net_conv::widened;
use crate::torchscript::Script;
use crate::Result;
use tch::{nn, nn::Init, Tensor};

/// Deviation of the initial weights.
const INIT_STD: f64 = 0.05;

/// A convolution whose outputs are standardised by a first batch: `(weight * x + shift) exp(log_scale)`.
///
/// The scale is multiplied into the weight, which is smaller than the activations.
///
/// Variables: `weight` `[C', C, k, k]` from `N(0, 0.05^2)`, `shift` `[C']`, `log_scale` `[C']`, and the buffer
/// `initialized`.
#[derive(Debug)]
struct NormConv2d {
    weight: Tensor,
    shift: Tensor,
    log_scale: Tensor,
    first: FirstBatch,
    precision: Precision,
}

impl NormConv2d {
    fn new(vs: &nn::Path, inputs: i64, outputs: i64, kernel: i64) -> Result<Self> {
        let weights = Init::Randn {
            mean: 0.0,
            stdev: INIT_STD,
        };
        Ok(Self {
            weight: vs.f_var("weight", &[outputs, inputs, kernel, kernel], weights)?,
            shift: vs.f_var("shift", &[outputs], Init::Const(0.0))?,
            log_scale: vs.f_var("log_scale", &[outputs], Init::Const(0.0))?,
            first: FirstBatch::new(vs, "normalised convolution")?,
            precision: Precision::Float32,
        })
    }
}

impl Conditioner for NormConv2d {
    fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> Result<Tensor> {
        self.first.require()?;
        let scale = self.log_scale.f_exp()?;
        let weight = self.weight.f_mul(&scale.f_view([-1, 1, 1, 1])?)?;
        let conv = Conv2d::from_parts(weight, Some(self.shift.f_mul(&scale)?));
        widened(conv.in_precision(self.precision).convolve(x)?, x)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.precision = precision;
        Ok(())
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "NormConv2d",
            include_str!("norm_conv2d.torchscript.py"),
        ))
    }

    fn initialize(&mut self, x: &Tensor, _condition: Option<&Tensor>) -> Result<()> {
        if self.first.seen()? {
            return Ok(());
        }
        tch::no_grad(|| -> Result<()> {
            let y = Conv2d::from_parts(self.weight.shallow_clone(), None).convolve(x)?;
            let Moments { mean, log_std } = self.first.moments(&y)?;
            self.shift.f_copy_(&mean.f_neg()?)?;
            self.log_scale.f_copy_(&log_std.f_neg()?)?;
            Ok(())
        })?;
        self.first.set_seen()
    }
}

/// 3x3 convolution that starts at zero and learns its own output scale, `(conv(x) + second_bias) exp(3 logs)`: a
/// [`Conv2dZero`](super::Conv2dZero) with a bias too many, as some published networks have it.
///
/// Variables: `weight` `[C', C, 3, 3]`, `bias`, `second_bias` and `logs` `[C']`, all 0 at the start.
#[derive(Debug)]
pub struct TwiceBiasedConv2dZero {
    conv: Conv2d,
    second_bias: Tensor,
    logs: Tensor,
}

impl TwiceBiasedConv2dZero {
    /// The zero map from `inputs` to `outputs` channels.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(vs: &nn::Path, inputs: i64, outputs: i64) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::zeros(vs, inputs, outputs, 3, true)?,
            second_bias: vs.f_var("second_bias", &[outputs], Init::Const(0.0))?,
            logs: vs.f_var("logs", &[outputs], Init::Const(0.0))?,
        })
    }
}

impl Conditioner for TwiceBiasedConv2dZero {
    fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> Result<Tensor> {
        let y = self.conv.convolve_to_the_end(x)?;
        scale_channels(&y, &self.second_bias, &self.logs, LOGS_FACTOR)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.conv.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "TwiceBiasedConv2dZero",
            include_str!("conv2d_zero_twice_biased.torchscript.py"),
        ))
    }
}

/// Coupling net: 3x3 (`inputs` → `width`), normalised, ReLU, 1x1 (`width` → `width`), normalised, ReLU,
/// zero-initialised 3x3 (`width` → `outputs`) with two biases and a log-scale.
///
/// Variables: those of the layers under `0`, `2` and `4`, the numbers of a torch `Sequential` that counts the ReLUs.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for a width below 1.
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
pub fn norm_net(vs: &nn::Path, inputs: i64, outputs: i64, width: i64) -> Result<Stack> {
    check_width(width)?;
    Ok(Stack::new(Activation::Relu)
        .push(NormConv2d::new(&(vs / 0), inputs, width, 3)?)
        .push(NormConv2d::new(&(vs / 2), width, width, 1)?)
        .push(TwiceBiasedConv2dZero::new(&(vs / 4), width, outputs)?))
}
