//! Woodbury-Glow: Glow with Woodbury transformations in the place of its 1x1 convolutions.

use super::classes::net_of;
use super::multiscale::MultiScale;
use super::{Classes, Overrides};
use crate::distributions::LearnedPrior;
use crate::flows::{
    ActNorm, AffineCoupling, AffineForm, Center, Dequantize, Scale, Sequential, Squeeze, Woodbury,
    WoodburyRanks,
};
use crate::nn::{norm_net, TwiceBiasedConv2dZero};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn;

/// Woodbury-Glow as published.
///
/// ```text
/// for every level:  squeeze,  steps,  split (but after the last level)          step:  ActNorm, Woodbury, coupling
/// ```
///
/// Images lie in `[-1/2, 1/2)`. A split sends half of the channels out under a normal density whose mean and scale are a
/// convolution of the other half; the top latent has a learned mean and scale for every element.
///
/// Source: Lu, Huang, *Woodbury transformations for deep generative flows*, 2020, <https://arxiv.org/abs/2002.12229>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WoodburyConfig {
    /// Image shape `[C, H, W]`.
    pub image: [i64; 3],
    /// Number of levels `L`.
    pub levels: usize,
    /// Steps per level `K`.
    pub steps: usize,
    /// Hidden channels of the coupling nets.
    pub width: i64,
    /// Axes and ranks of the transformations.
    pub ranks: WoodburyRanks,
    /// The classes of the images, for a conditional model; `None` for one that knows of none.
    #[serde(default)]
    pub classes: Option<Classes>,
}

/// Rank 16 on the channels, along rows and along columns.
pub(super) const MEMORY_EFFICIENT: WoodburyRanks = WoodburyRanks::MemoryEfficient {
    channels: 16,
    width: 16,
    height: 16,
};

/// Rank 16 on the channels and on the pixels.
const PLAIN: WoodburyRanks = WoodburyRanks::Plain {
    channels: 16,
    pixels: 16,
};

impl WoodburyConfig {
    /// The row of Table 6 (12,485,100 parameters): the memory-efficient form.
    pub fn table6() -> Self {
        Self {
            image: [3, 32, 32],
            levels: 2,
            steps: 16,
            width: 512,
            ranks: MEMORY_EFFICIENT,
            classes: None,
        }
    }

    /// The same network with the plain form (12,624,364 parameters).
    pub fn table6_plain() -> Self {
        Self {
            ranks: PLAIN,
            ..Self::table6()
        }
    }

    /// The published network for CIFAR-10 (11,101,236 parameters).
    pub fn published_cifar10() -> Self {
        Self {
            levels: 3,
            steps: 8,
            ..Self::table6_plain()
        }
    }

    /// The network of Table 6 for MNIST (9,810,724 parameters).
    pub fn mnist() -> Self {
        Self {
            image: [1, 28, 28],
            ..Self::table6()
        }
    }

    pub(super) fn change(&mut self, changes: &Overrides) -> Result<()> {
        let sizes = (&mut self.levels, &mut self.steps, &mut self.width);
        changes.change_sizes("woodbury", &mut self.image, sizes)
    }

    /// Builds the network, its variables in `vs`; it needs a first batch.
    ///
    /// # Errors
    /// [`Error::Config`] for an image that cannot be squeezed, a rank or a width below 1.
    pub fn build(&self, vs: &nn::Path) -> Result<MultiScale> {
        if self.levels == 0 {
            return Err(Error::config("`levels` must be 1 or more, got 0"));
        }
        let mut builder = MultiScale::builder(vs, self.image)?;
        builder.layer("preprocess.dequantize", Dequantize::default())?;
        builder.layer("preprocess.scale", Scale)?;
        builder.layer("preprocess.center", Center::new(1.0)?)?;
        for level in 0..self.levels {
            let (name, vs) = (format!("levels.{level}"), vs / "levels" / level as i64);
            builder.layer(format!("{name}.squeeze"), Squeeze::new(2)?)?;
            for step in 0..self.steps {
                let vs = &vs / "steps" / step as i64;
                let layers = self.step(&vs, builder.chw())?;
                builder.layers(&format!("{name}.steps.{step}"), layers)?;
            }
            if level + 1 < self.levels {
                let (chw, half) = (builder.chw(), builder.chw()[0] / 2);
                let prior = AffineCoupling::new(
                    &(&vs / "prior"),
                    [half, half],
                    AffineForm::Gaussian,
                    net_of(self.classes.as_ref(), chw, TwiceBiasedConv2dZero::new),
                )?;
                builder.layer(format!("{name}.prior"), prior)?;
                builder.split(format!("{name}.split"), half)?;
            }
        }
        if self.classes.is_none() {
            let prior = LearnedPrior::new(&(vs / "prior"), builder.chw())?;
            builder.layer("prior", prior)?;
        }
        builder.end(vs, self.classes.as_ref())
    }

    fn step(&self, vs: &nn::Path, chw: [i64; 3]) -> Result<Sequential> {
        let half = chw[0] / 2;
        let coupling = AffineCoupling::new(
            &(vs / "coupling"),
            [half, half],
            AffineForm::ShiftedSigmoid,
            net_of(self.classes.as_ref(), chw, |vs, inputs, outputs| {
                norm_net(vs, inputs, outputs, self.width)
            }),
        )?;
        Ok(Sequential::new()
            .push("actnorm", ActNorm::new(&(vs / "actnorm"), chw[0])?)
            .extend(woodbury_mixing(vs, chw, self.ranks)?)
            .push("coupling", coupling))
    }
}

/// What Woodbury-Glow puts in the place of a Glow step's linear layer.
///
/// # Errors
/// [`Error::Config`] for a rank below 1.
pub fn woodbury_mixing(vs: &nn::Path, chw: [i64; 3], ranks: WoodburyRanks) -> Result<Sequential> {
    let layer = Woodbury::new(&(vs / "woodbury"), chw, ranks)?;
    Ok(Sequential::new().push("woodbury", layer))
}
