//! Convolutions that keep the size of the image.

use super::embedding::Embedding;
use super::{Conditioner, Precision};
use crate::ops::actnorm::scale_channels;
use crate::ops::conv_relu_conv::conv_relu_conv_in;
use crate::ops::net_conv::{conv2d, widened};
use crate::torchscript::Script;
use crate::words::counted;
use crate::{Error, Result};
use tch::{nn, nn::Init, Tensor};

/// What a convolution multiplies the logarithm of its scale by, so that the scale grows faster than the weights.
pub(super) const LOGS_FACTOR: f64 = 3.0;

/// Convolution with stride 1 and zero padding `(k-1)/2`, so that the image keeps its size; odd `k`.
///
/// Variables: `weight` `[C', C, k, k]` and, if asked for, `bias` `[C']`, both drawn from `U(-b, b)` with
/// `b = 1/sqrt(C k^2)`, torch's default. A [conditioned](Conv2d::conditioned) one has `condition` `[C', F]` too.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C', H, W]`.
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    kernel: i64,
    condition: Option<Embedding>,
    precision: Precision,
}

impl Conv2d {
    /// A convolution with torch's default initialisation.
    ///
    /// # Errors
    /// [`Error::Config`] for a size below 1 or an even kernel; what libtorch reports when it cannot make the parameters.
    pub fn new(vs: &nn::Path, inputs: i64, outputs: i64, kernel: i64, bias: bool) -> Result<Self> {
        let bound = 1.0 / ((inputs * kernel * kernel) as f64).sqrt();
        Self::with_init(
            vs,
            [outputs, inputs, kernel],
            bias,
            Init::Uniform {
                lo: -bound,
                up: bound,
            },
        )
    }

    /// A convolution that starts as the zero map.
    ///
    /// # Errors
    /// As [`new`](Conv2d::new).
    pub fn zeros(
        vs: &nn::Path,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        bias: bool,
    ) -> Result<Self> {
        Self::with_init(vs, [outputs, inputs, kernel], bias, Init::Const(0.0))
    }

    /// A convolution with a `weight` `[C', C, k, k]` and a `bias` that were made elsewhere.
    pub(super) fn from_parts(weight: Tensor, bias: Option<Tensor>) -> Self {
        let kernel = weight.size()[2];
        Self {
            weight,
            bias,
            kernel,
            condition: None,
            precision: Precision::Float32,
        }
    }

    /// The same one, computing in `precision`.
    pub(super) fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// With a bias of each image's own, a linear function of its condition of `features` numbers, which every call then
    /// needs. Its weights are drawn from `U(-b, b)`, `b = 1/sqrt(F)`.
    ///
    /// # Errors
    /// [`Error::Config`] for a condition without a feature.
    pub fn conditioned(mut self, vs: &nn::Path, features: i64) -> Result<Self> {
        self.condition = Some(Embedding::new(vs, features, self.weight.size()[0])?);
        Ok(self)
    }

    /// The convolution and its bias; bfloat16 in that precision.
    pub(super) fn convolve(&self, x: &Tensor) -> Result<Tensor> {
        if self.kernel == 1 && self.precision.of(x) == Precision::Float32 {
            return self.pointwise(x);
        }
        conv2d(x, &self.weight, self.bias.as_ref(), self.precision)
    }

    /// The same in the kind of the parameters, to which the bias is added after the sum is widened: for the end of a net.
    pub(super) fn convolve_to_the_end(&self, x: &Tensor) -> Result<Tensor> {
        if self.precision != Precision::BFloat16 {
            return self.convolve(x);
        }
        let y = conv2d(x, &self.weight, None, self.precision)?;
        self.finish(widened(y, &self.weight)?)
    }

    fn with_init(
        vs: &nn::Path,
        [outputs, inputs, kernel]: [i64; 3],
        bias: bool,
        init: Init,
    ) -> Result<Self> {
        if inputs < 1 || outputs < 1 || kernel < 1 || kernel % 2 == 0 {
            return Err(Error::config(format!(
                "a convolution that keeps the size of the image needs channels and an odd filter, got {inputs} to \
                 {} and a filter of {kernel}x{kernel}",
                counted(outputs, "channel")
            )));
        }
        Ok(Self {
            weight: vs.f_var("weight", &[outputs, inputs, kernel, kernel], init)?,
            bias: bias
                .then(|| vs.f_var("bias", &[outputs], init))
                .transpose()?,
            kernel,
            condition: None,
            precision: Precision::Float32,
        })
    }

    /// A 1x1 convolution as one matrix product per image.
    ///
    /// On the CPU libtorch's convolution is 6 to 20 times slower here (512 → 4 to 24 channels, 8x8 to 14x14 pixels,
    /// batch 100): it rearranges the wide input into blocks first, which costs more than the product.
    fn pointwise(&self, x: &Tensor) -> Result<Tensor> {
        let size = x.size();
        if size.len() != 4 {
            let why = format!("must have 4 dimensions [N, C, H, W], got size {size:?}");
            return Err(Error::argument("conv2d", "x", why));
        }
        let (outputs, inputs) = (self.weight.size()[0], self.weight.size()[1]);
        let (n, pixels) = (size[0], size[2] * size[3]);
        let weight = self
            .weight
            .f_view([1, outputs, inputs])?
            .f_expand([n, outputs, inputs], false)?;
        let x = x.f_reshape([n, inputs, pixels])?;
        let y = match &self.bias {
            None => weight.f_bmm(&x)?,
            Some(bias) => bias
                .f_view([1, outputs, 1])?
                .f_baddbmm(&weight, &x, 1.0, 1.0)?,
        };
        Ok(y.f_view([n, outputs, size[2], size[3]])?)
    }
}

impl Conditioner for Conv2d {
    fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let y = self.convolve(x)?;
        let y = match &self.condition {
            None => y,
            Some(embedding) => y.f_add(&embedding.bias(condition)?.f_to_kind(y.kind())?)?,
        };
        widened(y, x)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.precision = precision;
        Ok(())
    }

    fn torchscript(&self) -> Result<Script> {
        if self.condition.is_some() {
            return Err(Error::no_torchscript("a convolution with a condition"));
        }
        Ok(match self.bias {
            Some(_) => Script::new("Conv2d", include_str!("conv2d.torchscript.py")),
            None => Script::new(
                "Conv2dNoBias",
                include_str!("conv2d_no_bias.torchscript.py"),
            ),
        })
    }
}

/// Two convolutions with a ReLU between them, `second(relu(first(x)))`, as one operation: [`conv_relu_conv`](crate::ops::conv_relu_conv()).
///
/// `second` is a [`Conv2d`] or a [`Conv2dZero`].
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C', H, W]`.
#[derive(Debug)]
pub(super) struct ConvPair<S> {
    pub first: Conv2d,
    pub second: S,
}

/// A convolution in two parts: its filter, and what comes after the sum over taps and channels.
pub(super) trait Second: Conditioner {
    fn filter(&self) -> &Tensor;
    fn finish(&self, y: Tensor) -> Result<Tensor>;
}

impl Second for Conv2d {
    fn filter(&self) -> &Tensor {
        &self.weight
    }

    fn finish(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            None => Ok(y),
            Some(bias) => Ok(y.f_add(&bias.f_view([1, -1, 1, 1])?.f_to_kind(y.kind())?)?),
        }
    }
}

impl Second for Conv2dZero {
    fn filter(&self) -> &Tensor {
        &self.conv.weight
    }

    fn finish(&self, y: Tensor) -> Result<Tensor> {
        let y = widened(y, &self.logs)?;
        scale_channels(&y, &self.bias, &self.logs, LOGS_FACTOR)
    }
}

impl<S: Second> Conditioner for ConvPair<S> {
    fn forward(&self, x: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        if self.first.condition.is_some() {
            // a bias for each image is not part of the fused operation
            let narrow = self.first.precision.narrowed(x)?;
            let hidden = self.first.forward(&narrow, condition)?.f_relu_()?;
            return widened(self.second.forward(&hidden, condition)?, x);
        }
        let y = conv_relu_conv_in(
            x,
            &self.first.weight,
            self.first.bias.as_ref(),
            self.second.filter(),
            self.first.precision,
        )?;
        self.second.finish(widened(y, x)?)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.first.set_precision(precision)?;
        self.second.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::net("torch.relu_(x)", self.layers()?))
    }

    fn layers(&self) -> Result<Vec<Script>> {
        Ok(vec![self.first.torchscript()?, self.second.torchscript()?])
    }
}

/// 3x3 convolution that starts at zero and learns its own output scale: `conv(x) exp(3 logs)`.
///
/// As the last layer of a coupling's net it makes the coupling start as the identity; the factor 3 lets the scale
/// grow faster than the weights.
///
/// Variables: `weight` `[C', C, 3, 3]`, `bias` `[C']`, `logs` `[C']`, all 0 at the start and none sharing storage.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C', H, W]`.
///
/// Source: Kingma, Dhariwal, *Glow*, 2018, <https://arxiv.org/abs/1807.03039>.
#[derive(Debug)]
pub struct Conv2dZero {
    /// Without its bias, which is part of the scale's operation.
    conv: Conv2d,
    bias: Tensor,
    logs: Tensor,
}

impl Conv2dZero {
    /// The zero map from `inputs` to `outputs` channels.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(vs: &nn::Path, inputs: i64, outputs: i64) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::zeros(vs, inputs, outputs, 3, false)?,
            bias: vs.f_var("bias", &[outputs], Init::Const(0.0))?,
            logs: vs.f_var("logs", &[outputs], Init::Const(0.0))?,
        })
    }
}

impl Conditioner for Conv2dZero {
    fn forward(&self, x: &Tensor, _condition: Option<&Tensor>) -> Result<Tensor> {
        self.finish(self.conv.convolve(x)?)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        self.conv.set_precision(precision)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(Script::new(
            "Conv2dZero",
            include_str!("conv2d_zero.torchscript.py"),
        ))
    }
}
