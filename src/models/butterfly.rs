//! ButterflyFlow: Glow with a butterfly layer in every step.

use super::multiscale::MultiScale;
use super::wn_glow::{mix_and_couple, preprocess, squeeze};
use super::{Classes, Overrides};
use crate::flows::{Butterfly, ButterflyInit, Conv1x1, Sequential};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn;

/// ButterflyFlow as published.
///
/// ```text
/// for every level but the last:  squeeze,  steps,  prior,  split in half
/// squeeze,  steps
/// step and prior:  ActNorm, 1x1 convolution, [butterfly], coupling
/// ```
///
/// Level `l` has `factors - l` butterfly factors, highest level first or last; where none are left, only the 1x1
/// convolution mixes. The prior's coupling net has 8 hidden channels for each channel, at most `width`.
///
/// Source: Meng, Zhou, Choi, Dao, Ermon, *ButterflyFlow: building invertible layers with butterfly matrices*, 2022,
/// <https://arxiv.org/abs/2209.13774>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ButterflyConfig {
    /// Image shape `[C, H, W]`.
    pub image: [i64; 3],
    /// Number of levels `L`.
    pub levels: usize,
    /// Steps per level `K`.
    pub steps: usize,
    /// Hidden channels of the coupling nets.
    pub width: i64,
    /// Butterfly factors at the first level; one fewer at each further one.
    pub factors: u32,
    /// How the factors start.
    pub init: ButterflyInit,
    /// The classes of the images, for a conditional model; `None` for one that knows of none.
    #[serde(default)]
    pub classes: Option<Classes>,
}

impl ButterflyConfig {
    /// The row of Table 6 (12,579,072 parameters): the published network with 2 levels of 16 steps.
    pub fn table6() -> Self {
        Self {
            image: [3, 32, 32],
            levels: 2,
            steps: 16,
            width: 512,
            factors: 1,
            init: ButterflyInit::Identity,
            classes: None,
        }
    }

    /// The published network for CIFAR-10 (44,378,016 parameters).
    pub fn published_cifar10() -> Self {
        Self {
            levels: 3,
            steps: 32,
            ..Self::table6()
        }
    }

    /// The network of Table 6 for MNIST (9,812,864 parameters).
    pub fn mnist() -> Self {
        Self {
            image: [1, 28, 28],
            ..Self::table6()
        }
    }

    pub(super) fn change(&mut self, changes: &Overrides) -> Result<()> {
        let sizes = (&mut self.levels, &mut self.steps, &mut self.width);
        changes.change_sizes("butterfly", &mut self.image, sizes)
    }

    /// Builds the network, its variables in `vs`; it needs a first batch.
    ///
    /// # Errors
    /// [`Error::Config`] for an image that cannot be squeezed or has no such factors.
    pub fn build(&self, vs: &nn::Path) -> Result<MultiScale> {
        if self.levels == 0 {
            return Err(Error::config("`levels` must be 1 or more, got 0"));
        }
        let mut builder = MultiScale::builder(vs, self.image)?;
        preprocess(&mut builder)?;
        for level in 0..self.levels {
            let (name, vs) = (format!("levels.{level}"), vs / "levels" / level as i64);
            builder.layer(format!("{name}.squeeze"), squeeze()?)?;
            let chw = builder.chw();
            let factors = self.factors.saturating_sub(level as u32);
            let mixed = |vs: &nn::Path, width| {
                let mut between = Sequential::new();
                if factors > 0 {
                    let levels: Vec<u32> = (0..factors).collect();
                    let layer = Butterfly::new(&(vs / "butterfly"), chw, &levels, self.init)?;
                    between = between.push("butterfly", layer);
                }
                mix_and_couple(vs, chw, self.classes.as_ref(), 2, width, between)
            };
            for step in 0..self.steps {
                let vs = &vs / "steps" / step as i64;
                builder.layers(&format!("{name}.steps.{step}"), mixed(&vs, self.width)?)?;
            }
            if level + 1 < self.levels {
                let width = self.width.min(8 * chw[0]);
                builder.layers(&format!("{name}.prior"), mixed(&(&vs / "prior"), width)?)?;
                builder.split(format!("{name}.split"), chw[0] / 2)?;
            }
        }
        builder.end(vs, self.classes.as_ref())
    }
}

/// What ButterflyFlow puts in the place of a Glow step's linear layer: 1x1 convolution, then butterfly factors of the
/// levels `0..factors` (none: the convolution alone).
///
/// # Errors
/// [`Error::Config`] for an image without that many factors.
pub fn butterfly_mixing(
    vs: &nn::Path,
    chw: [i64; 3],
    factors: u32,
    init: ButterflyInit,
) -> Result<Sequential> {
    let layers = Sequential::new().push("conv1x1", Conv1x1::new(&(vs / "conv1x1"), chw[0])?);
    if factors == 0 {
        return Ok(layers);
    }
    let levels: Vec<u32> = (0..factors).collect();
    let butterfly = Butterfly::new(&(vs / "butterfly"), chw, &levels, init)?;
    Ok(layers.push("butterfly", butterfly))
}
