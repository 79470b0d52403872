//! MintNet: masked residual blocks alone, without couplings or splits.

use super::multiscale::MultiScale;
use super::overrides::{refuse, replace};
use super::{Classes, Overrides};
use crate::flows::{Dequantize, FixedPoint, LogitMap, MaskedResidual, Scale, Squeeze, Triangle};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn;

/// MintNet as published: `layers` pairs of masked residual blocks, lower then upper triangle.
///
/// Before the layers `j floor(layers / (subsamplings + 1))`, `j = 1..`, the image is squeezed by 2 and the latent
/// multiplicity divided by 4, so that the number of hidden channels stays the same.
///
/// Source: Song, Meng, Ermon, *MintNet: building invertible neural networks with masked convolutions*, 2019,
/// <https://arxiv.org/abs/1907.07945>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintNetConfig {
    /// Image shape `[C, H, W]`.
    pub image: [i64; 3],
    /// Pairs of blocks.
    pub layers: usize,
    /// Squeezes on the way.
    pub subsamplings: usize,
    /// Hidden channels for each colour in the first blocks.
    pub latent: i64,
    /// Margin of the logit preprocessing.
    pub alpha: f64,
    /// How the blocks are inverted.
    pub inverse: FixedPoint,
    /// The classes of the images, for a conditional model; `None` for one that knows of none.
    #[serde(default)]
    pub classes: Option<Classes>,
}

impl MintNetConfig {
    /// The simplest network of the size of the row of Table 6 (12,461,550 parameters): 10 layers, one subsampling.
    ///
    /// No setting of the published code has the printed 12.466 M.
    pub fn table6() -> Self {
        Self {
            image: [3, 32, 32],
            layers: 10,
            subsamplings: 1,
            latent: 86,
            alpha: 0.05,
            inverse: FixedPoint::default(),
            classes: None,
        }
    }

    /// The published network for CIFAR-10 (27,460,944 parameters).
    pub fn published_cifar10() -> Self {
        Self {
            layers: 21,
            subsamplings: 2,
            latent: 85,
            ..Self::table6()
        }
    }

    /// The published network for MNIST (805,272 parameters).
    pub fn mnist() -> Self {
        Self {
            image: [1, 28, 28],
            layers: 20,
            subsamplings: 2,
            latent: 45,
            alpha: 1e-6,
            // The published 3.5 leaves a residual of 5e-3 after its 100 iterations, which the published code does not look
            // at (measured on a model of 489 steps; 400 iterations suffice). The Jacobian is triangular, so without damping
            // the error's linear part is nilpotent: the same model is inverted to rounding in fewer iterations.
            inverse: FixedPoint {
                damping: 1.0,
                ..FixedPoint::default()
            },
            classes: None,
        }
    }

    /// A level is what lies between two squeezes, a step one layer.
    pub(super) fn change(&mut self, changes: &Overrides) -> Result<()> {
        refuse(
            changes.kernel,
            "mintnet's filters are 3x3: leave `kernel` out",
        )?;
        refuse(
            changes.width,
            "mintnet has no coupling nets: leave `width` out, or set `latent` in a configuration file",
        )?;
        replace(&mut self.image, changes.image);
        if changes.levels.is_some() || changes.steps.is_some() {
            let levels = changes.levels.unwrap_or(self.subsamplings + 1);
            let steps = changes.steps.unwrap_or_else(|| self.period());
            if levels == 0 || steps == 0 {
                return Err(Error::config(format!(
                    "`levels` and `steps` must be 1 or more, got {levels} and {steps}"
                )));
            }
            self.subsamplings = levels - 1;
            self.layers = levels * steps;
        }
        Ok(())
    }

    /// Layers between two squeezes; the last ones may be more.
    fn period(&self) -> usize {
        self.layers / (self.subsamplings + 1)
    }

    /// Builds the network, its variables in `vs`.
    ///
    /// # Errors
    /// [`Error::Config`] for an image that cannot be squeezed, more subsamplings than layers, or a latent multiplicity
    /// that the subsamplings bring to 0.
    pub fn build(&self, vs: &nn::Path) -> Result<MultiScale> {
        let period = self.period();
        if period == 0 {
            return Err(Error::config(format!(
                "`layers` must be more than `subsamplings`, got {} and {}",
                self.layers, self.subsamplings
            )));
        }
        let mut builder = MultiScale::builder(vs, self.image)?;
        builder.layer("preprocess.dequantize", Dequantize::default())?;
        builder.layer("preprocess.scale", Scale)?;
        builder.layer("preprocess.logit", LogitMap::symmetric(self.alpha)?)?;
        let mut latent = self.latent;
        for layer in 0..self.layers {
            let (name, vs) = (format!("layers.{layer}"), vs / "layers" / layer as i64);
            if layer > 0 && layer % period == 0 && layer / period <= self.subsamplings {
                builder.layer(format!("{name}.squeeze"), Squeeze::block_major(2)?)?;
                latent /= 4;
            }
            for (part, triangle) in [("lower", Triangle::Lower), ("upper", Triangle::Upper)] {
                let block = MaskedResidual::new(
                    &(&vs / part),
                    builder.chw(),
                    latent,
                    triangle,
                    self.inverse,
                )?;
                builder.layer(format!("{name}.{part}"), block)?;
            }
        }
        builder.end(vs, self.classes.as_ref())
    }
}
