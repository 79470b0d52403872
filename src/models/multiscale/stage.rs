//! One stage of a model: a layer, or a split that sends a latent out.

use crate::distributions::SplitPrior;
use crate::flows::{Cx, Mapped, Transform};
use crate::nn::Precision;
use crate::ops::channels::split_channels;
use crate::ops::filter::RawFilter;
use crate::torchscript::{split_statements, Stages};
use crate::{Error, Result};
use tch::Tensor;

/// A stage of a [`MultiScale`](super::MultiScale) with its full name.
#[derive(Debug)]
pub struct Stage {
    pub(super) name: String,
    pub(super) part: Part,
}

#[derive(Debug)]
pub(super) enum Part {
    Layer(Box<dyn Transform>),
    /// The first `kept` of `channels` go on, the others are a latent.
    Split {
        kept: i64,
        channels: i64,
    },
    /// A split of the channels in half, behind a coupling of the half that leaves.
    SplitPrior(SplitPrior),
}

/// What one stage makes of its input.
#[derive(Debug)]
pub struct Staged {
    /// Goes on to the next stage.
    pub kept: Tensor,
    /// What leaves here, under `N(0, I)`.
    pub latent: Option<Tensor>,
    /// `[N]`; a plain split has none.
    pub log_det: Option<Tensor>,
}

impl Stage {
    /// The name in the model, as in `levels.0.steps.3.inv_conv`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of layer, `split` or `split_prior`.
    pub fn kind(&self) -> &'static str {
        match &self.part {
            Part::Layer(layer) => layer.name(),
            Part::Split { .. } => "split",
            Part::SplitPrior(_) => "split_prior",
        }
    }

    /// Runs the stage on its input.
    ///
    /// # Errors
    /// As the layer, with the stage's name where a map has no inverse.
    pub fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Staged> {
        let staged = self.part.forward(x, cx);
        staged.map_err(|err| err.below(&self.name))
    }

    /// The input of the stage from what went on and what left there, and the log-det of this map, which a plain split
    /// does not have.
    ///
    /// # Errors
    /// As the layer, with the stage's name where a map has no inverse; a split without its latent.
    pub fn inverse(
        &self,
        kept: &Tensor,
        latent: Option<&Tensor>,
        cx: Cx<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let left = || {
            latent.ok_or_else(|| {
                let why = format!("the latent of `{}` is missing", self.name);
                Error::argument("inverse", "latent", why)
            })
        };
        let mapped = match &self.part {
            Part::Layer(layer) => layer.inverse(kept, cx),
            Part::Split { .. } => return Ok((Tensor::f_cat(&[kept, left()?], 1)?, None)),
            Part::SplitPrior(prior) => prior.merge(kept, left()?, cx),
        };
        let Mapped { value, log_det } = mapped.map_err(|err| err.below(&self.name))?;
        Ok((value, Some(log_det)))
    }

    /// What the filters of the inverse convolutions in this stage are made of.
    pub(super) fn raw_filters(&self) -> Vec<RawFilter<'_>> {
        match &self.part {
            Part::Layer(layer) => layer.raw_filters(),
            Part::Split { .. } | Part::SplitPrior(_) => Vec::new(),
        }
    }

    /// Whether the log-det of the stage is left out of training.
    pub(super) fn trains_without_log_det(&self) -> bool {
        matches!(&self.part, Part::Layer(layer) if layer.trains_without_log_det())
    }

    /// Whether a latent leaves here.
    pub(super) fn is_split(&self) -> bool {
        !matches!(self.part, Part::Layer(_))
    }

    /// What the nets of the stage compute in from now on.
    pub(super) fn set_precision(&mut self, precision: Precision) -> Result<()> {
        match &mut self.part {
            Part::Layer(layer) => layer.set_precision(precision),
            Part::Split { .. } => Ok(()),
            Part::SplitPrior(prior) => prior.set_precision(precision),
        }
    }

    /// Initialises the stage from a first batch at its input and returns what goes on.
    pub(super) fn initialize(&mut self, x: &Tensor, cx: Cx<'_>) -> Result<Tensor> {
        let initialized = match &mut self.part {
            Part::Layer(layer) => layer.initialize(x, cx),
            Part::Split { .. } => Ok(()),
            Part::SplitPrior(prior) => prior.initialize(x, cx),
        };
        initialized.map_err(|err| err.below(&self.name))?;
        Ok(self.forward(x, cx)?.kept)
    }

    /// Appends the stage to a program, in which the next latent to leave is that of index `latent`.
    pub(super) fn add_to(&self, program: &mut Stages, latent: usize) -> Result<()> {
        let (kept, script) = match &self.part {
            Part::Layer(layer) => return program.push(&self.name, layer.torchscript()),
            Part::Split { kept, .. } => (*kept, None),
            Part::SplitPrior(prior) => (prior.kept(), Some(prior.torchscript())),
        };
        program.push_with(&self.name, script, split_statements(kept, latent))
    }
}

impl Part {
    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> Result<Staged> {
        Ok(match self {
            Part::Layer(layer) => {
                let Mapped { value, log_det } = layer.forward(x, cx)?;
                Staged {
                    kept: value,
                    latent: None,
                    log_det: Some(log_det),
                }
            }
            Part::Split { kept, channels } => {
                let [kept, latent] = split_channels(x, [*kept, channels - kept])?;
                Staged {
                    kept,
                    latent: Some(latent),
                    log_det: None,
                }
            }
            Part::SplitPrior(prior) => {
                let split = prior.split(x, cx)?;
                Staged {
                    kept: split.kept,
                    latent: Some(split.latent),
                    log_det: Some(split.log_det),
                }
            }
        })
    }
}
