//! CInC Flow's coupling of four blocks.

use super::check::{same_channels, Placement};
use super::{zero_log_det, Cx, Mapped, Transform};
use crate::nn::{Conditioner, Precision};
use crate::ops::coupling::{affine_coupling, AffineForm};
use crate::ops::Direction;
use crate::torchscript::Script;
use crate::{Error, Result};
use tch::{nn, Tensor};

/// Blocks of channels.
const BLOCKS: i64 = 4;

/// Quad-coupling: of four blocks of channels, each is scaled and shifted by a function of all before it.
///
/// ```text
/// x = (x1, x2, x3, x4),   t, raw = even and odd channels of net_j(x1 .. x_{j-1}),   log_s = log sigmoid(raw + 2)
/// z1 = x1,   z_j = (x_j + t) exp(log_s)   for j = 2, 3, 4,   log-det = sum log_s
/// ```
///
/// All nets see the data side, so the forward direction evaluates the three at once; the inverse recovers x2, x3 and
/// x4 one after the other, starting from the first block. The element-wise part is one operation, [`affine_coupling`].
///
/// Variables: those of the nets, under `nets.0` to `nets.2`, from `jC/4` to `C/2` channels.
///
/// # Shapes
/// `[N, C, H, W]` → `[N, C, H, W]`, C a multiple of 4.
///
/// Source: Nagar, Dufraisse, Varma, *CInC Flow: Characterizable Invertible 3x3 Convolution*, 2021,
/// <https://arxiv.org/abs/2107.01358>.
#[derive(Debug)]
pub struct QuadCoupling {
    channels: i64,
    nets: Vec<Box<dyn Conditioner>>,
    placement: Placement,
}

impl QuadCoupling {
    /// Coupling over `channels` channels, conditioned by three nets `net(path, inputs, outputs)`.
    ///
    /// # Errors
    /// [`Error::Config`] unless 4 divides the channels, and what `net` reports.
    pub fn new<N: Conditioner + 'static>(
        vs: &nn::Path,
        channels: i64,
        net: impl Fn(&nn::Path, i64, i64) -> Result<N>,
    ) -> Result<Self> {
        if channels < 1 || channels % BLOCKS != 0 {
            return Err(Error::config(format!(
                "a quad coupling needs a number of channels divisible by {BLOCKS}, got {channels}: squeeze the images \
                 first, or use the affine coupling"
            )));
        }
        let block = channels / BLOCKS;
        let nets = (1..BLOCKS).map(|before| -> Result<Box<dyn Conditioner>> {
            let vs = vs / "nets" / (before - 1);
            Ok(Box::new(net(&vs, before * block, 2 * block)?))
        });
        Ok(Self {
            channels,
            nets: nets.collect::<Result<_>>()?,
            placement: Placement::in_path(vs),
        })
    }

    fn check(&self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        let [n, ..] = self
            .placement
            .check_channels("quad_coupling", self.channels, x)?;
        self.placement
            .check_condition("quad_coupling", n, cx.condition)
    }

    /// The nets, each with the number of channels before the block that it is about.
    fn nets(&self) -> impl Iterator<Item = (i64, &dyn Conditioner)> {
        let block = self.channels / BLOCKS;
        (1..)
            .zip(&self.nets)
            .map(move |(before, net)| (before * block, net.as_ref()))
    }

    /// What a net says about one block: shifts and scales, channel by channel in turns.
    fn said(&self, net: &dyn Conditioner, before: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
        let out = net.forward(before, cx.condition)?;
        let size = before.size();
        let nchw = [size[0], 2 * self.channels / BLOCKS, size[2], size[3]];
        self.placement.check_net("quad_coupling", out, nchw)
    }
}

/// `z_j = (x_j + t) exp(log_s)` of the blocks that `said` is about, the last ones.
const FORM: AffineForm = AffineForm::ShiftedSigmoid;

/// How the text changes for nets that see the class of each image.
const OF_CLASS: &[(&str, &str, usize)] = &[
    (
        "said(self, before: Tensor, j: int)",
        "said(self, before: Tensor, c: Tensor, j: int)",
        1,
    ),
    (".forward(before)", ".forward(before, c)", 3),
    (
        "self.said(x[:, : j * block], j)",
        "self.said(x[:, : j * block], c, j)",
        1,
    ),
    ("self.said(x, j)", "self.said(x, c, j)", 1),
];

impl Transform for QuadCoupling {
    fn name(&self) -> &'static str {
        "quad_coupling"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.check(x, cx)?;
        let said = self
            .nets()
            .map(|(before, net)| self.said(net, &x.f_narrow(1, 0, before)?, cx))
            .collect::<Result<Vec<_>>>()?;
        let said = Tensor::f_cat(&said, 1)?;
        let (value, log_det) = affine_coupling(x, &said, FORM, Direction::Forward)?;
        Ok(Mapped { value, log_det })
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        self.check(z, cx)?;
        let block = self.channels / BLOCKS;
        let mut value = z.f_narrow(1, 0, block)?;
        let mut total: Option<Tensor> = None;
        for (before, net) in self.nets() {
            let said = self.said(net, &value, cx)?;
            let with_next = Tensor::f_cat(&[&value, &z.f_narrow(1, before, block)?], 1)?;
            let (found, log_det) = affine_coupling(&with_next, &said, FORM, Direction::Inverse)?;
            value = found;
            total = Some(match total {
                None => log_det,
                Some(total) => total.f_add(&log_det)?,
            });
        }
        Ok(Mapped {
            value,
            log_det: total.map_or_else(|| zero_log_det(z), Ok)?,
        })
    }

    fn out_shape(&self, chw: [i64; 3]) -> Result<[i64; 3]> {
        same_channels("quad_coupling", self.channels, chw)
    }

    fn set_precision(&mut self, precision: Precision) -> Result<()> {
        let mut nets = self.nets.iter_mut();
        nets.try_for_each(|net| net.set_precision(precision))
    }

    fn torchscript(&self) -> Result<Script> {
        let script = Script::new("QuadCoupling", include_str!("quad_coupling.torchscript.py"));
        (0..)
            .zip(&self.nets)
            .try_fold(script, |script, (index, net)| {
                script.with_net(&format!("nets.{index}"), net.torchscript(), OF_CLASS)
            })
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        self.check(x, cx)?;
        let block = self.channels / BLOCKS;
        tch::no_grad(|| {
            (1..).zip(&mut self.nets).try_for_each(|(before, net)| {
                net.initialize(&x.f_narrow(1, 0, before * block)?, cx.condition)
            })
        })
    }
}
