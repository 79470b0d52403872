//! CInC Flow's coupling of four blocks.

use super::check::{same_channels, Placement};
use super::{sum_per_sample, Cx, Mapped, Transform};
use crate::nn::{Conditioner, Precision};
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
/// x4 one after the other, starting from the first block.
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

/// What a net says about one block.
struct Affine {
    shift: Tensor,
    log_scale: Tensor,
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

    fn blocks(&self, x: &Tensor, cx: Cx<'_>) -> Result<Vec<Tensor>> {
        let [n, ..] = self
            .placement
            .check_channels("quad_coupling", self.channels, x)?;
        self.placement
            .check_condition("quad_coupling", n, cx.condition)?;
        Ok(x.f_chunk(BLOCKS, 1)?)
    }

    fn affine(&self, net: &dyn Conditioner, before: &Tensor, cx: Cx<'_>) -> Result<Affine> {
        let out = net.forward(before, cx.condition)?;
        let size = before.size();
        let nchw = [size[0], 2 * self.channels / BLOCKS, size[2], size[3]];
        let out = self.placement.check_net("quad_coupling", out, nchw)?;
        let raw = out.f_slice(1, 1, None::<i64>, 2)?;
        Ok(Affine {
            shift: out.f_slice(1, 0, None::<i64>, 2)?,
            log_scale: raw.f_add_scalar(2.0)?.f_log_sigmoid()?,
        })
    }
}

impl Transform for QuadCoupling {
    fn name(&self) -> &'static str {
        "quad_coupling"
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let blocks = self.blocks(x, cx)?;
        let mut value = vec![blocks[0].shallow_clone()];
        let mut log_scales = Vec::with_capacity(self.nets.len());
        let block = self.channels / BLOCKS;
        for ((before, net), part) in (1..).zip(&self.nets).zip(&blocks[1..]) {
            let seen = x.f_narrow(1, 0, before * block)?;
            let Affine { shift, log_scale } = self.affine(net.as_ref(), &seen, cx)?;
            value.push(part.f_add(&shift)?.f_mul(&log_scale.f_exp()?)?);
            log_scales.push(log_scale);
        }
        Ok(Mapped {
            value: Tensor::f_cat(&value, 1)?,
            log_det: sum_per_sample(&Tensor::f_cat(&log_scales, 1)?)?,
        })
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> Result<Mapped> {
        let blocks = self.blocks(z, cx)?;
        let mut value = blocks[0].shallow_clone();
        let mut log_scales = Vec::with_capacity(self.nets.len());
        for (net, part) in self.nets.iter().zip(&blocks[1..]) {
            let Affine { shift, log_scale } = self.affine(net.as_ref(), &value, cx)?;
            let found = part.f_mul(&log_scale.f_neg()?.f_exp()?)?.f_sub(&shift)?;
            value = Tensor::f_cat(&[&value, &found], 1)?;
            log_scales.push(log_scale);
        }
        Ok(Mapped {
            value,
            log_det: sum_per_sample(&Tensor::f_cat(&log_scales, 1)?)?.f_neg()?,
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
                script.with_child(&format!("nets.{index}"), net.torchscript())
            })
    }

    fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<()> {
        self.blocks(x, cx)?;
        let block = self.channels / BLOCKS;
        tch::no_grad(|| {
            (1..).zip(&mut self.nets).try_for_each(|(before, net)| {
                net.initialize(&x.f_narrow(1, 0, before * block)?, cx.condition)
            })
        })
    }
}
