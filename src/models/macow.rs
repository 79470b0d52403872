//! MaCow: masked convolutional flows in a multi-scale network.

use super::multiscale::{MultiScale, MultiScaleBuilder};
use super::overrides::{refuse, replace};
use super::wn_glow::{mix_and_couple, preprocess, squeeze};
use super::{Classes, Overrides};
use crate::flows::{macow_unit, ActNorm, Conv1x1, Sequential};
use crate::words::counted;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::nn;

/// MaCow as published.
///
/// ```text
/// [bottom: steps at full resolution]
/// for every internal block:  squeeze,  for every part:  steps, prior, split
/// squeeze,  top: steps
/// step:  2 units,  ActNorm, 1x1 convolution, coupling          unit:  ActNorm, A, B, ActNorm, C, D
/// prior:  ActNorm, 1x1 convolution, coupling of the channels that leave
/// ```
///
/// The first part of an internal block sends `1/factor` of its channels out, the next one `1/(factor - 1)`, and so on:
/// equally many each time.
///
/// Source: Ma, Kong, Zhang, Hovy, *MaCow: masked convolutional generative flow*, 2019,
/// <https://arxiv.org/abs/1902.04208>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaCowConfig {
    /// Image shape `[C, H, W]`.
    pub image: [i64; 3],
    /// Window of the masked convolutions: lines before, and odd width across.
    pub kernel: [i64; 2],
    /// Masked units per step.
    pub units: usize,
    /// The block before the first squeeze; needs at least 2 channels.
    pub bottom: Option<MaCowBlock>,
    /// The blocks that end in splits.
    pub internal: Vec<MaCowSplitBlock>,
    /// The last block.
    pub top: MaCowBlock,
    /// The classes of the images, for a conditional model; `None` for one that knows of none.
    #[serde(default)]
    pub classes: Option<Classes>,
}

/// Steps at one resolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaCowBlock {
    /// Number of steps.
    pub steps: usize,
    /// Hidden channels of the coupling nets.
    pub width: i64,
}

/// Steps at one resolution with splits between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaCowSplitBlock {
    /// Number of steps before each split.
    pub steps: Vec<usize>,
    /// The first split sends `1/factor` of the channels out; larger than the number of splits.
    pub factor: i64,
    /// Hidden channels of the coupling nets.
    pub width: i64,
}

impl MaCowConfig {
    /// The network whose size is that of the row of Table 6 (2,682,796 parameters): 4 steps at each of two resolutions.
    pub fn table6() -> Self {
        let block = MaCowBlock {
            steps: 4,
            width: 512,
        };
        Self {
            image: [3, 32, 32],
            kernel: [2, 3],
            units: 2,
            bottom: Some(block.clone()),
            internal: Vec::new(),
            top: block,
            classes: None,
        }
    }

    /// 16 steps at each of two resolutions, as the caption of Table 6 has it, with coupling nets so narrow that the
    /// size is the same (2,677,680 parameters).
    pub fn table6_sixteen_steps() -> Self {
        let block = |width| MaCowBlock { steps: 16, width };
        Self {
            bottom: Some(block(24)),
            top: block(280),
            ..Self::table6()
        }
    }

    /// The published network for CIFAR-10 (37,197,547 parameters).
    pub fn published_cifar10() -> Self {
        let internal = MaCowSplitBlock {
            steps: vec![12, 12],
            factor: 4,
            width: 512,
        };
        Self {
            bottom: Some(MaCowBlock {
                steps: 4,
                width: 24,
            }),
            internal: vec![internal.clone(), internal],
            top: MaCowBlock {
                steps: 12,
                width: 512,
            },
            ..Self::table6()
        }
    }

    /// The network of Table 6 for MNIST (2,824,608 parameters): one channel cannot be coupled, so both blocks come
    /// after a squeeze.
    pub fn mnist() -> Self {
        Self {
            image: [1, 28, 28],
            bottom: None,
            internal: vec![MaCowSplitBlock {
                steps: vec![4],
                factor: 2,
                width: 512,
            }],
            ..Self::table6()
        }
    }

    /// Steps and width are those of all blocks.
    pub(super) fn change(&mut self, changes: &Overrides) -> Result<()> {
        refuse(
            changes.levels,
            "macow's levels are its blocks: leave `levels` out, or set `internal` in a configuration file",
        )?;
        refuse(
            changes.kernel,
            "macow's window has two sides: leave `kernel` out, or set it in a configuration file",
        )?;
        replace(&mut self.image, changes.image);
        for block in self.bottom.iter_mut().chain([&mut self.top]) {
            replace(&mut block.steps, changes.steps);
            replace(&mut block.width, changes.width);
        }
        for block in &mut self.internal {
            for steps in &mut block.steps {
                replace(steps, changes.steps);
            }
            replace(&mut block.width, changes.width);
        }
        Ok(())
    }

    /// Builds the network, its variables in `vs`; it needs a first batch.
    ///
    /// # Errors
    /// [`Error::Config`] for an image or a block that does not fit, with what to change.
    pub fn build(&self, vs: &nn::Path) -> Result<MultiScale> {
        let mut builder = MultiScale::builder(vs, self.image)?;
        preprocess(&mut builder)?;
        let blocks = vs / "blocks";
        let mut index = 0;
        let mut next = || {
            index += 1;
            (format!("blocks.{}", index - 1), &blocks / (index - 1))
        };
        if let Some(block) = &self.bottom {
            let (name, vs) = next();
            self.steps(&mut builder, &vs, &name, block.steps, block.width)?;
        }
        for block in &self.internal {
            let (name, vs) = next();
            builder.layer(format!("{name}.squeeze"), squeeze()?)?;
            self.split_block(&mut builder, &vs, &name, block)?;
        }
        let (name, top) = next();
        builder.layer(format!("{name}.squeeze"), squeeze()?)?;
        self.steps(&mut builder, &top, &name, self.top.steps, self.top.width)?;
        builder.end(vs, self.classes.as_ref())
    }

    fn split_block(
        &self,
        builder: &mut MultiScaleBuilder,
        vs: &nn::Path,
        name: &str,
        block: &MaCowSplitBlock,
    ) -> Result<()> {
        if block.factor <= block.steps.len() as i64 {
            return Err(Error::config(format!(
                "a block with {} needs a `factor` above {}, got {}",
                counted(block.steps.len(), "split"),
                block.steps.len(),
                block.factor
            )));
        }
        for (part, &steps) in (0..).zip(&block.steps) {
            let (name, vs) = (format!("{name}.parts.{part}"), vs / "parts" / part);
            self.steps(builder, &vs, &name, steps, block.width)?;
            let (chw, factor) = (builder.chw(), block.factor - part);
            let [channels, ..] = chw;
            let nothing = Sequential::new();
            let prior = mix_and_couple(
                &(&vs / "prior"),
                chw,
                self.classes.as_ref(),
                factor,
                block.width,
                nothing,
            )?;
            builder.layers(&format!("{name}.prior"), prior)?;
            builder.split(format!("{name}.split"), channels - channels / factor)?;
        }
        Ok(())
    }

    fn steps(
        &self,
        builder: &mut MultiScaleBuilder,
        vs: &nn::Path,
        name: &str,
        steps: usize,
        width: i64,
    ) -> Result<()> {
        for step in 0..steps {
            let (name, vs) = (format!("{name}.steps.{step}"), vs / "steps" / step as i64);
            let chw = builder.chw();
            builder.layers(&name, macow_units(&vs, chw[0], self.units, self.kernel)?)?;
            let end = mix_and_couple(&vs, chw, self.classes.as_ref(), 2, width, Sequential::new())?;
            builder.layers(&name, end)?;
        }
        Ok(())
    }
}

/// `units` masked units, one after the other.
fn macow_units(vs: &nn::Path, channels: i64, units: usize, kernel: [i64; 2]) -> Result<Sequential> {
    let mut layers = Sequential::new();
    for unit in 0..units {
        let vs = vs / "units" / unit as i64;
        let children = macow_unit(&vs, channels, kernel)?.into_children();
        for (name, child) in children {
            layers = layers.push_boxed(format!("units.{unit}.{name}"), child);
        }
    }
    Ok(layers)
}

/// What MaCow puts in the place of a Glow step's ActNorm and linear layer: `units` masked units, ActNorm, 1x1
/// convolution. It brings the step's ActNorm along, so the step should have none of its own.
///
/// # Errors
/// [`Error::Config`] for an odd number of channels, which the coupling after it could not halve, or a bad window.
pub fn macow_mixing(
    vs: &nn::Path,
    [channels, ..]: [i64; 3],
    units: usize,
    kernel: [i64; 2],
) -> Result<Sequential> {
    if channels % 2 != 0 {
        return Err(Error::config(format!(
            "MaCow's step ends in a coupling and needs an even number of channels, got {channels}: squeeze first"
        )));
    }
    let actnorm = ActNorm::new(&(vs / "actnorm"), channels)?;
    let conv = Conv1x1::new(&(vs / "conv1x1"), channels)?;
    Ok(macow_units(vs, channels, units, kernel)?
        .push("actnorm", actnorm)
        .push("conv1x1", conv))
}
