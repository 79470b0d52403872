//! Masked convolutional flow: every row (or column) is an affine function of the rows before it.

use super::check::{same_channels, Placement};
use super::lines::{LineOrder, Window};
use super::{Cx, Mapped, ScaleThenShift, Sequential, Transform};
use crate::nn::WeightNorm;
use crate::ops::coupling::{affine_coupling, AffineForm};
use crate::ops::Direction;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, Kind, Tensor};

/// Masked convolutional flow.
///
/// ```text
/// m, s = halves of  project * elu(look * x),   z = x sigmoid(s + 2) + m,   log-det = sum log sigmoid(s + 2)
/// ```
///
/// `look` is a convolution whose `depth` x `breadth` window lies wholly on the lines that come before: for order A on
/// the `depth` rows above the pixel, `breadth` wide; for B below it; for C and D on the columns to its left and right.
/// There is no mask: every tap is learnt, and the one-sided padding makes the map causal. `project` is 1x1. Within a
/// line, neither pixels nor channels depend on each other.
///
/// `forward` is two convolutions. `inverse` has to go line by line, but treats a whole line of the whole batch at once:
/// eight tensor operations on matrices of `N` times line length rows. Under autograd its steps are recorded.
///
/// Variables: those of [`WeightNorm`] under `look` and `project`. `look` needs a first batch; `project` starts at zero, so
/// the map starts as multiplication by `sigmoid(2)`.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`.
///
/// Source: Ma, Kong, Zhang, Hovy, *MaCow: masked convolutional generative flow*, 2019,
/// <https://arxiv.org/abs/1902.04208>.
#[derive(Debug)]
pub struct MaskedConvFlow {
    channels: i64,
    window: Window,
    look: WeightNorm,
    project: WeightNorm,
    placement: Placement,
}

impl MaskedConvFlow {
    /// A flow over `channels` channels with a window of `kernel = [depth, breadth]`.
    ///
    /// # Errors
    /// [`Error::Config`] for no channels, an empty window or an even breadth.
    pub fn new(vs: &nn::Path, channels: i64, order: LineOrder, kernel: [i64; 2]) -> Result<Self> {
        let [depth, breadth] = kernel;
        if channels < 1 {
            return Err(Error::config(format!(
                "a masked convolutional flow needs at least one channel, got {channels}"
            )));
        }
        if depth < 1 || breadth < 1 || breadth % 2 == 0 {
            return Err(Error::config(format!(
                "`kernel`, the window of a masked convolutional flow, must be [depth, breadth] with a depth of 1 or more \
                 and an odd breadth, got {kernel:?}"
            )));
        }
        let hidden = hidden_channels(channels);
        let taps = if order.is_rows() {
            [hidden, channels, depth, breadth]
        } else {
            [hidden, channels, breadth, depth]
        };
        Ok(Self {
            channels,
            window: Window {
                order,
                depth,
                breadth,
            },
            look: WeightNorm::standardised(&(vs / "look"), taps)?,
            project: WeightNorm::zeros(&(vs / "project"), [2 * channels, hidden, 1, 1])?,
            placement: Placement::in_path(vs),
        })
    }

    /// The two convolutions as matrices for one line: rows are window entries in the order (line before, nearest last;
    /// channel; position), columns are outputs.
    fn line_net(&self) -> Result<LineNet> {
        let [weight, project] = WeightNorm::weights([&self.look, &self.project])?;
        let rows_last = if self.window.order.is_rows() {
            weight.f_permute([2, 1, 3, 0])?
        } else {
            weight.f_permute([3, 1, 2, 0])?
        };
        let ordered = if self.window.order.is_reversed() {
            rows_last.f_flip([0])?
        } else {
            rows_last
        };
        let hidden = weight.size()[0];
        // outputs m and -(s + 2), so that 1 / sigmoid(s + 2) = 1 + exp of the latter
        let sign = Tensor::f_ones_like(self.project.bias())?;
        let _ = sign
            .f_narrow(0, self.channels, self.channels)?
            .f_fill_(-1.0)?;
        let offset = sign.f_add_scalar(-1.0)?;
        let project = project.f_view([2 * self.channels, hidden])?;
        Ok(LineNet {
            look: ordered.f_reshape([-1, hidden])?,
            look_bias: self.look.bias().shallow_clone(),
            project: project.f_transpose(0, 1)?.f_mul(&sign)?,
            project_bias: self.project.bias().f_mul(&sign)?.f_add(&offset)?,
        })
    }
}

/// See [`MaskedConvFlow::line_net`].
struct LineNet {
    look: Tensor,
    look_bias: Tensor,
    project: Tensor,
    project_bias: Tensor,
}

impl LineNet {
    /// Windows of the lines before, `[M, window]`, to `m` and `-(s + 2)`, `[M, C]` each.
    fn affine(&self, windows: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut hidden = self.look_bias.f_addmm(windows, &self.look)?;
        let out = self
            .project_bias
            .f_addmm(&hidden.f_elu_()?, &self.project)?;
        let channels = out.size()[1] / 2;
        Ok((
            out.f_narrow(1, 0, channels)?,
            out.f_narrow(1, channels, channels)?,
        ))
    }
}

impl Transform for MaskedConvFlow {
    fn name(&self) -> &'static str {
        "masked_conv_flow"
    }

    fn forward(&self, x: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        self.placement
            .check_channels("masked_conv_flow", self.channels, x)?;
        let [look, project] = WeightNorm::weights([&self.look, &self.project])?;
        let mut hidden = self.window.convolve(x, &look, self.look.bias())?;
        let out =
            hidden
                .f_elu_()?
                .f_conv2d(&project, Some(self.project.bias()), [1], [0], [1], 1)?;
        let (value, log_det) = affine_coupling(x, &out, AffineForm::Sigmoid, Direction::Forward)?;
        Ok(Mapped { value, log_det })
    }

    fn inverse(&self, z: &Tensor, _cx: Cx<'_>) -> Result<Mapped> {
        let [n, c, ..] = self
            .placement
            .check_channels("masked_conv_flow", self.channels, z)?;
        let net = self.line_net()?;
        let lines = self.window.lines(z)?;
        let Some(first) = lines.first() else {
            return Err(Error::argument("masked_conv_flow", "z", "must have pixels"));
        };
        let length = first.size()[1];
        let taps = self.window.depth * c * self.window.breadth;
        let outside = self.window.windows(&first.f_zeros_like()?)?;
        // windows of the last `depth` lines, the nearest last
        let mut before: Vec<Tensor> = (0..self.window.depth)
            .map(|_| outside.shallow_clone())
            .collect();
        let (mut solved, mut exponents) = (Vec::new(), Vec::new());
        for line in &lines {
            let windows = Tensor::f_cat(&before, 2)?.f_view([n * length, taps])?;
            let (shift, exponent) = net.affine(&windows)?;
            let rest = line.f_reshape([n * length, c])?.f_sub(&shift)?;
            // (z - m) / sigmoid(s + 2)
            let x = rest
                .f_addcmul(&rest, &exponent.f_exp()?)?
                .f_view([n, length, c])?;
            let _ = before.remove(0);
            before.push(self.window.windows(&x)?);
            solved.push(x);
            exponents.push(exponent);
        }
        // -log sigmoid(s + 2) = softplus(-(s + 2))
        let log_det = Tensor::f_stack(&exponents, 0)?
            .f_softplus()?
            .f_view([lines.len() as i64, n, length * c])?
            .f_sum_dim_intlist([0i64, 2].as_slice(), false, None::<Kind>)?;
        Ok(Mapped {
            value: self.window.image(solved)?,
            log_det,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("masked_conv_flow", self.channels, chw)
    }

    fn torchscript(&self) -> Result<Script> {
        Ok(
            Script::new("MaskedConvFlow", include_str!("macow.torchscript.py"))
                .with("columns", !self.window.order.is_rows())
                .with("reversed", self.window.order.is_reversed())
                .child("look", self.look.script())
                .child("project", self.project.script()),
        )
    }

    fn initialize(&mut self, x: &Tensor, _cx: Cx<'_>) -> Result<()> {
        self.placement
            .check_channels("masked_conv_flow", self.channels, x)?;
        let window = self.window;
        self.look
            .initialize(|weight, bias| window.convolve(x, weight, bias))
    }
}

/// Channels between the two convolutions, as published: `4C`, or for more than 96 channels `2C` but at most 512.
fn hidden_channels(channels: i64) -> i64 {
    if channels <= 96 {
        4 * channels
    } else {
        (2 * channels).min(512)
    }
}

/// One unit of MaCow: ActNorm, A, B, ActNorm, C, D; every pixel then depends on all others.
///
/// # Errors
/// As [`MaskedConvFlow::new`].
pub fn macow_unit(vs: &nn::Path, channels: i64, kernel: [i64; 2]) -> Result<Sequential> {
    let flow =
        |name: &str, order| MaskedConvFlow::new(&(vs / "masked" / name), channels, order, kernel);
    let actnorm = |index: i64| ScaleThenShift::new(&(vs / "actnorm" / index), channels);
    Ok(Sequential::new()
        .push("actnorm.0", actnorm(0)?)
        .push("masked.a", flow("a", LineOrder::A)?)
        .push("masked.b", flow("b", LineOrder::B)?)
        .push("actnorm.1", actnorm(1)?)
        .push("masked.c", flow("c", LineOrder::C)?)
        .push("masked.d", flow("d", LineOrder::D)?))
}
